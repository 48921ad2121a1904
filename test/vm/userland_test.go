package vm_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"bpfd/test/vm"
)

// A real ssh server and a real adbd answer in the guest.
func TestReach(t *testing.T) {
	row, err := vm.RowOf("6.1-arm64")
	if err != nil {
		t.Fatal(err)
	}
	need(t, row, "ssh", "ssh-keygen", "adb")
	v := vm.Start(t, row.Name, vm.WithSSH(), vm.WithADB())
	eventually(t, func() (string, error) {
		return output("ssh", "-F", v.SSHConfig(), "vm", "uname -r")
	}, v.Release+"\n")

	// A server of our own, which ends with the test.
	t.Setenv("ANDROID_ADB_SERVER_PORT", "15037")
	t.Setenv("HOME", t.TempDir())
	t.Cleanup(func() { exec.Command("adb", "kill-server").Run() })
	eventually(t, func() (string, error) {
		if out, err := output("adb", "connect", v.ADB()); err != nil {
			return out, err
		}
		return output("adb", "-s", v.ADB(), "shell", "-T", "uname -r")
	}, v.Release+"\n")
}

// eventually waits until a command has the wanted output: servers in a guest
// may begin after it has.
func eventually(t *testing.T, f func() (string, error), want string) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		out, err := f()
		if err == nil && out == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q, %v; want %q", out, err, want)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func output(args ...string) (string, error) {
	var errs strings.Builder
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = os.Environ()
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return string(out) + errs.String(), err
}

// The workload does what it says.
func TestLoad(t *testing.T) {
	row, err := vm.RowOf("6.1-arm64")
	if err != nil {
		t.Fatal(err)
	}
	need(t, row, "aarch64-linux-gnu-g++", "/sbin/mkfs.ext4")
	v := vm.Start(t, row.Name, vm.WithLoad())
	eventually(t, func() (string, error) {
		r, err := v.Run(t.Context(), "pidof goload cppload load | wc -w; grep -c ' /mnt ext4' /proc/mounts; test -s /mnt/file && echo written")
		return r.Stdout + r.Stderr, err
	}, "3\n1\nwritten\n")
}
