package transport

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// adbDevice is a device that the system's adb reaches; empty is the only one,
// or that of ANDROID_SERIAL.
type adbDevice string

func parseADB(rest string) (dialer, error) {
	serial, query, _ := strings.Cut(rest, "?")
	if strings.HasPrefix(serial, "-") || strings.ContainsAny(serial, " /") {
		return nil, errors.New("want adb: or adb:SERIAL")
	}
	return parseQuery(query, "su sudo", adbDevice(serial))
}

func (a adbDevice) command(line string) *exec.Cmd {
	args := []string{"shell", "-T", line}
	if a != "" {
		args = append([]string{"-s", string(a)}, args...)
	}
	return exec.Command(adb(), args...)
}

// adb returns the command, which ADB names for other tools as well.
func adb() string {
	if path := os.Getenv("ADB"); path != "" {
		return path
	}
	return "adb"
}

func (adbDevice) group() bool { return true }

// explain looks whether the device is there and may be used.
func (a adbDevice) explain(err error) error {
	out, e := exec.Command(adb(), "devices").Output()
	if e != nil {
		return err
	}
	serial := string(a)
	if serial == "" {
		serial = os.Getenv("ANDROID_SERIAL")
	}
	states, list := devices(string(out))
	switch state, ok := states[serial]; {
	case len(states) == 0:
		return errors.New("adb sees no device: connect one with USB debugging switched on, or adb connect HOST:PORT")
	case serial == "" && len(states) > 1:
		return fmt.Errorf("adb sees several devices, choose one: %s", list)
	case serial != "" && !ok:
		return fmt.Errorf("adb does not see %s, only %s", serial, list)
	case state == "unauthorized":
		return errors.New("the device does not trust this computer yet: confirm it on the device's screen")
	}
	return err
}

// Devices returns the serials of the devices that a running adb server sees,
// none if no server runs: asking adb would start one.
func Devices() []string {
	port := os.Getenv("ANDROID_ADB_SERVER_PORT")
	if port == "" {
		port = "5037"
	}
	c, err := net.DialTimeout("tcp", "localhost:"+port, time.Second)
	if err != nil {
		return nil
	}
	c.Close()
	out, err := exec.Command(adb(), "devices").Output()
	if err != nil {
		return nil
	}
	states, _ := devices(string(out))
	return slices.Sorted(maps.Keys(states))
}

// devices reads the output of adb devices: states by serial, and all as targets.
func devices(out string) (map[string]string, string) {
	states := make(map[string]string)
	var list []string
	for line := range strings.Lines(out) {
		serial, state, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if ok {
			states[serial] = state
			list = append(list, fmt.Sprintf("adb:%s (%s)", serial, state))
		}
	}
	return states, strings.Join(list, ", ")
}
