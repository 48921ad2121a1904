package transport

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"

	"bpfd/test/testenv"
)

// sshd is a real sshd of this machine on a port of its own.
type sshd struct {
	url string // of the user who runs the tests
	dir string
}

// configureSSH makes keys, and the configurations of sshd and of the client, in
// a directory.
func configureSSH(t *testing.T, dir string, port int) {
	t.Helper()
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(`
ListenAddress 127.0.0.1:%d
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/user.pub .ssh/authorized_keys
PidFile none
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxStartups 100
`, port, dir))
	hostKey, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "known_hosts"), fmt.Sprintf("[127.0.0.1]:%d %s", port, hostKey))
	write(t, filepath.Join(dir, "config"), fmt.Sprintf(`
IdentityFile %[1]s/user
IdentitiesOnly yes
UserKnownHostsFile %[1]s/known_hosts
`, dir))
}

// startSSHD starts an sshd and tells the ssh client of it through BPFD_SSH. wrap
// returns the beginning of the command line, which runs the rest; the argument
// is the path of the user's public key.
func startSSHD(t *testing.T, wrap func(key string) []string) *sshd {
	t.Helper()
	testenv.Need(t, "/usr/sbin/sshd")
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // what its init script makes
	}
	dir := t.TempDir()
	port := freePort(t)
	configureSSH(t, dir, port)
	var log bytes.Buffer
	args := append(wrap(filepath.Join(dir, "user.pub")), "/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("sshd says: %s", log.String())
		}
	})
	testenv.Retry(t, func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err
	})
	t.Setenv("BPFD_SSH", "ssh -F "+filepath.Join(dir, "config"))
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return &sshd{fmt.Sprintf("ssh://%s@127.0.0.1:%d", u.Username, port), dir}
}

// plain runs sshd as it is.
func plain(string) []string { return nil }

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestSSH(t *testing.T) {
	s := startSSHD(t, plain)
	t.Setenv("BPFD_AGENT", peer)
	suite(t, s.url+"?path="+t.TempDir())
}
