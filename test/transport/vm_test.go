package transport

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/internal/transport"
	"bpfd/test/vm"
)

const bpfctl = "../../bin/bpfctl"

// A machine with another processor and kernel, by ssh (dropbear) and adb (a
// real adbd): what is there after make is pushed to it and runs tools, and the
// suite passes over adb.
func TestVM(t *testing.T) {
	row, err := vm.RowOf("6.1-arm64")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{row.QEMU(), "ssh", "adb"} {
		path, _ := exec.LookPath(program)
		need(t, program, path)
	}
	need(t, "bin/bpfctl (run make)", bpfctl)
	peer := build(t, row.Arch) // before HOME is another one, and with it go's cache
	v := vm.Start(t, row.Name, append(guestPrograms(t, row.Arch, peer), vm.WithSSH(), vm.WithADB())...)
	t.Setenv("BPFD_SSH", "ssh -F "+v.SSHConfig())
	connectADB(t, v.ADB())
	until(t, "ssh", func() error { return exec.Command("ssh", "-F", v.SSHConfig(), "vm", "true").Run() })

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
	until(t, "adb", func() error {
		exec.Command("adb", "connect", address).Run()
		return exec.Command("adb", "-s", address, "shell", "-T", "true").Run()
	})
}

// until waits until a server in the guest answers.
func until(t *testing.T, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v", what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// build builds a peer for another architecture.
func build(t *testing.T, arch string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "./peer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// run runs bpfctl.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return output(exec.Command(bpfctl, args...))
}

// output returns what a program prints; what it complains of is in the error.
func output(cmd *exec.Cmd) (string, error) {
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w: %s", cmd.Args, err, errs.String())
	}
	return string(out), err
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
		out, err := run(t, args...)
		begin, open := strings.CutSuffix(c.want, "*")
		if err != nil || !strings.HasPrefix(out, begin) || !open && out != begin {
			t.Errorf("bpfctl %v: %q, %v; want %q", args, out, err, c.want)
		}
	}
}
