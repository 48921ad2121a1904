package transport

import (
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// sshHost is a machine that the system's ssh reaches, with the user's
// configuration, agent and jump hosts.
type sshHost struct{ user, host, port string }

func parseSSH(rest string) (dialer, error) {
	u, err := url.Parse("ssh:" + rest)
	if err != nil {
		return nil, err
	}
	h := sshHost{user: u.User.Username(), host: u.Hostname(), port: u.Port()}
	_, password := u.User.Password()
	switch {
	case h.host == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "":
		return nil, errors.New("want ssh://[user@]host[:port]")
	case password:
		return nil, errors.New("no password may stand here: ssh asks for it, or use a key")
	case strings.HasPrefix(h.host, "-") || strings.HasPrefix(h.user, "-"):
		return nil, errors.New("a host or user cannot begin with a hyphen")
	}
	if err := checkPort(h.port); err != nil {
		return nil, err
	}
	return parseQuery(u.RawQuery, "sudo", h)
}

func (h sshHost) command(line string) *exec.Cmd {
	// BPFD_SSH is what GIT_SSH_COMMAND is to git.
	ssh := strings.Fields(os.Getenv("BPFD_SSH"))
	if len(ssh) == 0 {
		ssh = []string{"ssh"}
	}
	args := append(ssh, "-T", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-e", "none")
	if !canAsk() {
		args = append(args, "-o", "BatchMode=yes")
	}
	if h.user != "" {
		args = append(args, "-l", h.user)
	}
	if h.port != "" {
		args = append(args, "-p", h.port)
	}
	args = append(args, "--", h.host, line)
	// ssh may have to ask for a password, so it stays in the terminal's
	// foreground group; an ignored Ctrl-C is inherited and stays ignored.
	return exec.Command("/bin/sh", append([]string{"-c", `trap "" INT QUIT; exec "$@"`, "sh"}, args...)...)
}

// canAsk says whether ssh can ask the user for a password.
func canAsk() bool {
	if os.Getenv("SSH_ASKPASS") != "" && (os.Getenv("DISPLAY") != "" || os.Getenv("SSH_ASKPASS_REQUIRE") != "") {
		return true
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

func (sshHost) group() bool { return false }

func (sshHost) explain(err error) error { return err }
