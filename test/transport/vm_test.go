package transport

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/internal/transport"
	"bpfd/test/testenv"
	"bpfd/test/vm"
)

var bpfctl = testenv.Bin("bpfctl")

// A machine with another processor and kernel, by ssh (dropbear) and adb (a
// real adbd): what is there after make is pushed to it and runs tools, and the
// suite passes over adb.
func TestVM(t *testing.T) {
	row, err := vm.RowOf("6.1-arm64")
	if err != nil {
		t.Fatal(err)
	}
	testenv.Need(t, "ssh", "adb")
	peer := filepath.Join(t.TempDir(), "peer")
	if err := testenv.Build(peer, "./peer", stripped, "GOARCH="+row.Arch); err != nil { // before HOME is another one, and with it go's cache
		t.Fatal(err)
	}
	v := vm.Start(t, row.Name, append(guestPrograms(t, row.Arch, peer), vm.WithSSH(), vm.WithADB())...)
	t.Setenv("BPFD_SSH", "ssh -F "+v.SSHConfig())
	connectADB(t, v.ADB())
	testenv.Retry(t, func() error { return exec.Command("ssh", "-F", v.SSHConfig(), "vm", "true").Run() })

	for _, url := range []string{"ssh://vm", "adb:" + v.ADB(), "adb:"} {
		t.Run(url, func(t *testing.T) { pushAndRun(t, url, v.Release) })
	}
	t.Run("unknown serial", func(t *testing.T) {
		_, err := transport.Dial(parse(t, "adb:127.0.0.1:1"), transport.Options{})
		if err == nil || !strings.Contains(err.Error(), "adb does not see 127.0.0.1:1, only adb:"+v.ADB()) {
			t.Errorf("an unknown serial: %v", err)
		}
	})
	t.Run("vsock", func(t *testing.T) { vsockInGuest(t, v) })
	t.Run("suite", func(t *testing.T) {
		t.Setenv("BPFD_AGENT", peer)
		suite(t, "adb:"+v.ADB()+"?path=/tmp")
	})
}

// connectADB starts an adb server for this test only, and connects it to a device.
func connectADB(t *testing.T, address string) {
	t.Helper()
	home := t.TempDir()
	env := []string{fmt.Sprintf("ANDROID_ADB_SERVER_PORT=%d", freePort(t)), "HOME=" + home}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	t.Cleanup(func() { exec.Command("adb", "kill-server").Run() })
	testenv.Retry(t, func() error {
		exec.Command("adb", "connect", address).Run()
		return exec.Command("adb", "-s", address, "shell", "-T", "true").Run()
	})
}

// pushAndRun runs tools on a target on which there is nothing, and removes what
// was brought there.
func pushAndRun(t *testing.T, url, release string) {
	for _, c := range []struct {
		args []string
		want string // what is printed, or its beginning if it ends with *
	}{
		{[]string{"agent", "status"}, ""},
		{[]string{"run", "--", "uname", "-r"}, release + "\n"},
		{[]string{"run", "--", "bpftool", "prog", "list"}, "*"},
		{[]string{"agent", "status"}, "/*"},
		{[]string{"agent", "push"}, "/*"},
		{[]string{"agent", "rm"}, "/*"},
		{[]string{"agent", "status"}, ""},
	} {
		args := append([]string{c.args[0], "-t", url}, c.args[1:]...)
		if c.args[0] == "agent" {
			args = append(c.args, "-t", url)
		}
		o := testenv.Run(t, append([]string{bpfctl}, args...)...)
		begin, open := strings.CutSuffix(c.want, "*")
		if o.Status != 0 || !strings.HasPrefix(o.Stdout, begin) || !open && o.Stdout != begin {
			t.Errorf("bpfctl %v: %v; want %q", args, o, c.want)
		}
	}
}
