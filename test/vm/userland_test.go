package vm_test

import (
	"fmt"
	"os/exec"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// A real ssh server and a real adbd answer in the guest.
func TestReach(t *testing.T) {
	testenv.Need(t, "ssh", "ssh-keygen", "adb")
	v := vm.Start(t, "6.1-arm64", vm.WithSSH(), vm.WithADB())
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
	testenv.Retry(t, func() error {
		out, err := f()
		if err == nil && out != want {
			err = fmt.Errorf("%q; want %q", out, want)
		}
		return err
	})
}

// output runs a command and returns both of its outputs.
func output(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return string(out), err
}

// The workload does what it says.
func TestLoad(t *testing.T) {
	testenv.Need(t, "aarch64-linux-gnu-g++", "/sbin/mkfs.ext4")
	v := vm.Start(t, "6.1-arm64", vm.WithLoad())
	eventually(t, func() (string, error) {
		r, err := v.Run(t.Context(), "pidof goload cppload load | wc -w; grep -c ' /mnt ext4' /proc/mounts; test -s /mnt/file && echo written")
		return r.Stdout + r.Stderr, err
	}, "3\n1\nwritten\n")
}
