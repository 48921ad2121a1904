package transport

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/test/testenv"

	"github.com/creack/pty"
)

const login = "bpfd-test"

// ordinary starts an sshd with an ordinary user who becomes root as how says,
// and returns the target's URL.
func ordinary(t *testing.T, how string) string {
	t.Helper()
	testenv.Need(t, "sudo")
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
			if o := testenv.RunRemote(t, url, "bpftool", "feature", "probe", "kernel"); o.Status != 0 || !strings.Contains(o.Stdout, "eBPF program_type tracepoint is available") {
				t.Error(o)
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
		o := testenv.RunRemote(t, url+"?su="+option, "true")
		if o.Status == 0 || !strings.Contains(o.Stderr, says) {
			t.Errorf("su=%s: %v; want %q", option, o, says)
		}
	}
	t.Cleanup(func() { exec.Command(bpfctl, "agent", "rm", "-t", url+"?su=none&path=/tmp").Run() })
	if o := testenv.Run(t, bpfctl, "ps", "-t", url+"?su=none&path=/tmp"); o.Status != 0 || !strings.Contains(o.Stdout, "sshd") {
		t.Errorf("su=none: %v", o)
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
	kill := time.AfterFunc(testenv.Limit, func() { cmd.Process.Kill() })
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
	o := testenv.Run(t, append([]string{"setsid", "--wait"}, testenv.Remote(url, "true")...)...)
	if o.Status == 0 || !strings.Contains(o.Stderr, "Permission denied") {
		t.Error(o)
	}
}
