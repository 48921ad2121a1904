package transport

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ordinary starts an sshd with an ordinary user who becomes root as how says,
// and returns the target's URL.
func ordinary(t *testing.T, how string) string {
	t.Helper()
	need(t, "sudo", "/usr/bin/sudo")
	need(t, "bin/bpfctl (run make)", bpfctl)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a user")
	}
	const user = "bpfd-test"
	s := startSSHD(t, func(key string) []string {
		return []string{"unshare", "--mount", "sh", "testdata/sshd.sh", user, key, how}
	})
	_, host, _ := strings.Cut(s.url, "@")
	return "ssh://" + user + "@" + host
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
