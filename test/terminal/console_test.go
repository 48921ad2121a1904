// Package terminal runs tools on a real terminal, natively and through bpfctl,
// and compares what a user sees and can do there.
package terminal

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"

	"github.com/creack/pty"
)

var bpfctl = testenv.Bin("bpfctl")

func TestMain(m *testing.M) {
	// Who started us may ignore these, as nohup(1) does: what runs on a
	// terminal does not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	testenv.Main(m, "bpfctl", "bpfd")
}

// What a key sends.
const (
	ctrlC = "\x03"
	ctrlD = "\x04"
	ctrlZ = "\x1a"
)

// patience is how long a console may show nothing of what is expected: only a
// failure takes it.
const patience = 30 * time.Second

// console is a terminal with a program on it.
type console struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	more chan struct{} // gets a value when there is new output; closed at its end

	mu   sync.Mutex // protects following
	seen string     // output which no expect has used yet
}

// open starts a program on a terminal of 24 rows and 80 columns, of whose
// session it is the leader.
func open(t *testing.T, env []string, args ...string) *console {
	t.Helper()
	c := &console{t: t, cmd: exec.Command(args[0], args[1:]...), more: make(chan struct{}, 1)}
	c.cmd.Env = append(os.Environ(), append([]string{"TERM=dumb", "HISTFILE="}, env...)...)
	var err error
	if c.tty, err = pty.StartWithSize(c.cmd, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	// Else Close would wait for the read that waits for output.
	if err := syscall.SetNonblock(int(c.tty.Fd()), true); err != nil {
		t.Fatal(err)
	}
	go c.read()
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Process.Wait()
		c.tty.Close()
	})
	return c
}

// prompt is that of the shell which shell starts.
const prompt = "ready> "

// shell opens a console with a shell that has job control.
func shell(t *testing.T) *console {
	t.Helper()
	testenv.Need(t, "bash")
	c := open(t, []string{"PS1=" + prompt, "PROMPT_COMMAND="}, "bash", "--norc", "--noprofile", "--noediting", "-i")
	c.expect(prompt)
	return c
}

func (c *console) read() {
	b := make([]byte, 4096)
	for {
		n, err := c.tty.Read(b)
		c.mu.Lock()
		c.seen += strings.ReplaceAll(string(b[:n]), "\r\n", "\n")
		c.mu.Unlock()
		if err != nil { // EIO: nobody has the other side any more
			close(c.more)
			return
		}
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// expect waits until text is shown and returns what was before it.
func (c *console) expect(text string) string {
	c.t.Helper()
	timeout := time.After(patience)
	for open := true; ; {
		c.mu.Lock()
		before, after, found := strings.Cut(c.seen, text)
		if found {
			c.seen = after
		}
		seen := c.seen
		c.mu.Unlock()
		if found {
			return before
		}
		if !open {
			c.t.Fatalf("the end instead of %q, after %q", text, seen)
		}
		select {
		case _, open = <-c.more:
		case <-timeout:
			c.t.Fatalf("no %q, but %q", text, seen)
		}
	}
}

// rest is what no expect has used.
func (c *console) rest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// keys types.
func (c *console) keys(keys string) {
	c.t.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// line types a line and waits for the terminal's echo of it.
func (c *console) line(line string) {
	c.t.Helper()
	c.keys(line + "\n")
	c.expect(line + "\n")
}

// answer types a line at a shell's prompt and returns what it prints.
func (c *console) answer(line string) string {
	c.t.Helper()
	c.line(line)
	return c.expect(prompt)
}

// wait waits for the program's end and returns its status.
func (c *console) wait() int {
	c.t.Helper()
	timer := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.cmd.Wait()
	return testenv.Status(c.cmd.ProcessState)
}

// remotely is a command line that runs a tool through bpfctl.
func remotely(tool string) string { return strings.Join(testenv.Remote("shell:", tool), " ") }
