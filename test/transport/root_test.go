package transport

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

const login = "bpfd-test"

// ordinary starts an sshd with an ordinary user who becomes root as how says,
// and returns the target's URL.
func ordinary(t *testing.T, how string) string {
	t.Helper()
	need(t, "sudo", "/usr/bin/sudo")
	need(t, "bin/bpfctl (run make)", bpfctl)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a user")
	}
	s := startSSHD(t, func(key string) []string {
		return []string{"unshare", "--mount", "sh", "testdata/sshd.sh", login, key, how}
	})
	_, host, _ := strings.Cut(s.url, "@")
	return "ssh://" + login + "@" + host
}

// Who logs in as an ordinary user becomes root by the real sudo and su.
func TestBecomeRoot(t *testing.T) {
	for _, c := range []struct{ how, option string }{{"sudo", "auto"}, {"sudo", "sudo"}, {"su", "su"}} {
		t.Run(c.how+" by "+c.option, func(t *testing.T) {
			dir := t.TempDir() // nobody but root may write to it
			url := ordinary(t, c.how) + "?path=" + dir + "&su=" + c.option
			if out, err := run(t, "run", "-t", url, "--", "bpftool", "feature", "probe", "kernel"); err != nil || !strings.Contains(out, "eBPF program_type tracepoint is available") {
				t.Errorf("%q, %v", out, err)
			}
			if found, _ := filepath.Glob(dir + "/bpfd-0/bpfd-*"); len(found) != 1 {
				t.Errorf("pushed %q", found)
			}
		})
	}
}

// Who cannot become root is told why, in the words of sudo and su, and what to do.
func TestCannotBecomeRoot(t *testing.T) {
	url := ordinary(t, "")
	for option, says := range map[string]string{
		"auto": "cannot become root on the target by sudo: sudo: a password is required",
		"sudo": "cannot become root on the target by sudo: sudo: a password is required",
		"su":   "cannot become root on the target by su: Password: su: Authentication failure",
	} {
		out, err := run(t, "run", "-t", url+"?su="+option, "--", "true")
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("su=%s: %q, %v; want %q", option, out, err, says)
		}
	}
	t.Cleanup(func() { exec.Command(bpfctl, "agent", "rm", "-t", url+"?su=none&path=/tmp").Run() })
	if out, err := run(t, "ps", "-t", url+"?su=none&path=/tmp"); err != nil || !strings.Contains(out, "sshd") {
		t.Errorf("su=none: %q, %v", out, err)
	}
}

// Who logs in with a password types it where ssh asks for it: on the terminal
// on which bpfctl and the tool run.
func TestPassword(t *testing.T) {
	url := ordinary(t, "sudo") + "?path=" + t.TempDir()
	t.Setenv("BPFD_SSH", os.Getenv("BPFD_SSH")+" -o PubkeyAuthentication=no")
	cmd := exec.Command(bpfctl, "run", "-t", url, "--", "bpftool", "version")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	screen := bufio.NewReader(terminal)
	asked, err := screen.ReadString(':')
	if err != nil || !strings.HasSuffix(asked, "password:") {
		t.Fatalf("%q, %v", asked, err)
	}
	fmt.Fprintln(terminal, "secret of", login)
	said, _ := io.ReadAll(screen) // a terminal without a process is an error
	if err := cmd.Wait(); err != nil || !strings.Contains(string(said), "bpftool v") {
		t.Errorf("%q, %v", said, err)
	}
	for line := range strings.SplitSeq(string(said), "\r") {
		if len(line) >= 80 {
			t.Errorf("too long for the terminal: %q", line)
		}
	}
	if strings.Contains(string(said), "secret") {
		t.Errorf("the password was shown: %q", said)
	}
}

// Without a terminal there is nobody to ask: that is an error, and no wait.
func TestPasswordWithoutTerminal(t *testing.T) {
	url := ordinary(t, "sudo")
	t.Setenv("BPFD_SSH", os.Getenv("BPFD_SSH")+" -o PubkeyAuthentication=no")
	cmd := exec.Command(bpfctl, "run", "-t", url, "--", "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := output(cmd); err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("%q, %v", out, err)
	}
}
