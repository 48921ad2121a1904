package text

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal starts a program on a pseudo-terminal, of which both ends are
// returned, and the modes that it had before.
func terminal(t *testing.T, cmd *exec.Cmd) (master, slave *os.File, before *unix.Termios) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if before, err = unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Without this end a read of the other fails when the program ends.
	limit := time.AfterFunc(testenv.Limit, func() {
		cmd.Process.Kill()
		slave.Close()
	})
	t.Cleanup(func() {
		limit.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		slave.Close()
		master.Close()
	})
	return master, slave, before
}

// oldClient does what the clients of 2018 and 2019 do, by way of pexpect.
type oldClient struct {
	t   *testing.T
	tty *os.File
	b   []byte
}

// expect reads until text appears, and returns what is before it.
func (c *oldClient) expect(text string) string {
	c.t.Helper()
	buf := make([]byte, 2000)
	for {
		if i := bytes.Index(c.b, []byte(text)); i >= 0 {
			before := string(c.b[:i])
			c.b = c.b[i+len(text):]
			return before
		}
		n, err := c.tty.Read(buf)
		if err != nil {
			c.t.Fatalf("waiting for %q: %v; there is %q", text, err, c.b)
		}
		c.b = append(c.b, buf[:n]...)
	}
}

// command sends a line and returns the lines of the answer: those behind
// START_BPFD_OUTPUT, stripped.
func (c *oldClient) command(line string) []string {
	c.t.Helper()
	if _, err := c.tty.WriteString(line + "\n"); err != nil {
		c.t.Fatal(err)
	}
	lines := strings.Split(c.expect("END_BPFD_OUTPUT"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	for len(lines) > 0 && !strings.HasPrefix(lines[0], "START_BPFD_OUTPUT") {
		if lines[0] != "" {
			c.t.Errorf("before the frame stands %q", lines[0])
		}
		lines = lines[1:]
	}
	if len(lines) == 0 {
		c.t.Fatalf("%s: no frame", line)
	}
	return lines[1 : len(lines)-1]
}

var retPattern = regexp.MustCompile(`ret=(-?\d+)`)

// ret is what the client takes for the result: it looks at the first line only.
func (c *oldClient) ret(line string) string {
	c.t.Helper()
	lines := c.command(line)
	if len(lines) == 0 {
		return ""
	}
	m := retPattern.FindStringSubmatch(lines[0])
	if m == nil {
		c.t.Fatalf("%.60s: %q", line, lines)
	}
	return m[1]
}

// program is n instructions and an exit, as an argument.
func program(n int) string {
	b := bytes.Repeat([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0}, n)
	b = append(b, 0x95, 0, 0, 0, 0, 0, 0, 0)
	return fmt.Sprintf("%d GPL 264721 %s", len(b), base64.StdEncoding.EncodeToString(b))
}

func key(i byte) string { return base64.StdEncoding.EncodeToString([]byte{i, 0, 0, 0}) }
