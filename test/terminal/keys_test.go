package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"bpfd/test/testenv"

	"github.com/creack/pty"
)

// tools run until Ctrl-C and show up when they have begun.
var tools = []struct{ name, program, command, up, status string }{
	{"sleep", "sleep", `sh -c 'echo up; exec sleep 1000'`, "up\n", "130"},
	{"child", "sh", `sh -c 'sh -c "echo up; exec sleep 1000"; echo not reached'`, "up\n", "130"},
	{"caught", "sh", `sh -c 'trap "echo caught; exit 3" INT; sh -c "echo up; exec sleep 1000"'`, "up\n", "3"},
	{"python", "/usr/bin/python3", `/usr/bin/python3 -c $'import time\nprint("up", flush=True)\nwhile True: time.sleep(0.05)'`, "up\n", "130"},
}

// session has a shell run a command, presses Ctrl-C and returns what it has
// shown since and its status.
func session(t *testing.T, command, up string) (shown, status string) {
	c := shell(t)
	c.line(command)
	c.expect(up)
	c.keys(ctrlC)
	shown = c.expect(prompt)
	return shown, strings.TrimSpace(c.answer("echo $?"))
}

// Ctrl-C reaches the tool once and shows what it does natively.
func TestInterrupt(t *testing.T) {
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			testenv.Need(t, tool.program)
			want, status := session(t, tool.command, tool.up)
			if status != tool.status {
				t.Fatalf("natively: status %s, shown %q", status, want)
			}
			got, status := session(t, remotely(tool.command), tool.up)
			if status != tool.status || comparable(got) != comparable(want) {
				t.Errorf("status %s, shown %q, natively %s, %q", status, got, tool.status, want)
			}
		})
	}
}

// Ctrl-C ends a read of the target's trace_pipe that waits for events.
func TestInterruptTracePipe(t *testing.T) {
	instance := "/sys/kernel/tracing/instances/bpfd-terminal" // in which nobody else traces
	if err := os.Mkdir(instance, 0o700); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	defer os.Remove(instance)
	command := "sh -c 'echo up; exec cat " + instance + "/trace_pipe'"
	want, status := session(t, command, "up\n")
	if status != "130" {
		t.Fatalf("natively: status %s, shown %q", status, want)
	}
	if got, status := session(t, remotely(command), "up\n"); status != "130" || comparable(got) != comparable(want) {
		t.Errorf("status %s, shown %q, natively 130, %q", status, got, want)
	}
}

// comparable drops the empty line that bash shows for a process which a
// signal ended (bpfctl exits instead) and where in a program Ctrl-C came.
func comparable(shown string) string {
	return place.ReplaceAllString(strings.TrimRight(shown, "\n"), "line N")
}

var place = regexp.MustCompile(`line \d+`)

// Ctrl-Z stops the tool and gives the shell its prompt back; fg goes on.
func TestStop(t *testing.T) {
	c := shell(t)
	c.line(remotely(`sh -c 'echo up; while read line; do echo "<$line>"; done; exit 4'`))
	c.expect("up\n")
	c.line("one")
	c.expect("<one>\n")
	c.keys(ctrlZ)
	c.expect("Stopped")
	c.expect(prompt)
	if shown := c.answer("echo shell $((6*7))"); shown != "shell 42\n" {
		t.Errorf("the stopped tool's shell says %q", shown)
	}
	c.line("fg")
	c.line("two")
	c.expect("<two>\n")
	c.keys(ctrlD)
	c.expect(prompt)
	if status := c.answer("echo $?"); status != "4\n" {
		t.Errorf("status %q", status)
	}
}

// In the background a tool goes on; the terminal's input is not its.
func TestBackground(t *testing.T) {
	c := shell(t)
	c.answer(remotely(`sh -c 'read line; echo "<$line>"; exec sleep 1000'`) + " &")
	c.line("fg")
	c.line("one")
	c.expect("<one>\n")
	c.keys(ctrlC)
	c.expect(prompt)
	if status := c.answer("echo $?"); status != "130\n" {
		t.Errorf("status %q", status)
	}
}

// The tool sees the window's size and hears of a new one.
func TestWindowSize(t *testing.T) {
	c := open(t, nil, testenv.Remote("shell:", "/usr/bin/python3", "-c", `
import os, signal
def show(*_): print(*os.get_terminal_size(), flush=True)
signal.signal(signal.SIGWINCH, show)
show()
while True: signal.pause()
`)...)
	c.expect("80 24\n")
	for _, size := range []pty.Winsize{{Rows: 50, Cols: 132}, {Rows: 10, Cols: 40}} {
		if err := pty.Setsize(c.tty, &size); err != nil {
			t.Fatal(err)
		}
		c.expect(fmt.Sprintf("%d %d\n", size.Cols, size.Rows))
	}
	s := shell(t)
	if size := s.answer(remotely("stty size")); size != "24 80\n" {
		t.Errorf("stty size: %q", size)
	}
}

// A signal that only bpfctl got reaches the tool, once.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			c := open(t, nil, testenv.Remote("shell:", "sh", "-c", fmt.Sprintf(
				`trap 'echo got it' %d; echo up; n=0; while [ $n -lt 2 ]; do read line && n=$((n+1)) && echo "<$line>"; done; exit 9`, sig))...)
			c.expect("up\n")
			c.cmd.Process.Signal(sig)
			c.expect("got it\n")
			c.keys("one\n")
			if shown := c.expect("<one>\n"); strings.Contains(shown, "got it") {
				t.Errorf("the signal came twice: %q", shown)
			}
			c.keys("two\n")
			c.expect("<two>\n")
			if status := c.wait(); status != 9 {
				t.Errorf("status %d", status)
			}
		})
		t.Run(sig.String()+" by default", func(t *testing.T) {
			c := open(t, nil, testenv.Remote("shell:", "sh", "-c", "echo up; exec sleep 1000")...)
			c.expect("up\n")
			c.cmd.Process.Signal(sig)
			if status := c.wait(); status != 128+int(sig) {
				t.Errorf("status %d", status)
			}
		})
	}
}

// When the terminal goes, the tool gets SIGHUP.
func TestHangup(t *testing.T) {
	note := t.TempDir() + "/note"
	c := open(t, nil, testenv.Remote("shell:", "sh", "-c",
		"trap 'echo hung up >"+note+"; exit 5' HUP; echo up; while :; do sleep 0.05; done")...)
	c.expect("up\n")
	c.tty.Close()
	if status := c.wait(); status != 5 {
		t.Errorf("status %d", status)
	}
	if b, err := os.ReadFile(note); string(b) != "hung up\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// resumed is a program that shows when it goes on. It does not fork: what is
// stopped between vfork and exec holds its parent up, so that no shell sees it.
const resumed = `/usr/bin/python3 -c "import signal, time; signal.signal(signal.SIGCONT, lambda *_: print('goes on', flush=True)); ` +
	`print('ready', flush=True); [time.sleep(0.05) for i in range(9999)]"`

// bpfctl shell is the user's shell with job control; its prompt names the
// target. The terminal is the caller's again when it has ended.
func TestShell(t *testing.T) {
	for _, name := range []string{"bash", "dash"} {
		t.Run(name, func(t *testing.T) {
			testenv.Need(t, name)
			c := shell(t)
			// No line is to be wrapped.
			if err := pty.Setsize(c.tty, &pty.Winsize{Rows: 24, Cols: 400}); err != nil {
				t.Fatal(err)
			}
			c.line("SHELL=$(command -v " + name + ") HOME=" + t.TempDir() + " " + bpfctl + " shell -t shell:")
			c.expect("(shell:) ")
			c.line("echo $BPFD_TARGET:$((6*7))")
			c.expect("shell::42\n")
			c.expect("(shell:) ")
			c.line("stat -f -c %T /sys/kernel/tracing")
			c.expect("tracefs\n")
			c.line("sh -c 'echo up; exec sleep 1000'")
			c.expect("up\n")
			c.keys(ctrlC)
			c.expect("(shell:) ")
			c.line("echo $?")
			c.expect("130\n")
			c.line(resumed)
			c.expect("ready\n")
			c.keys(ctrlZ)
			c.expect("topped")
			c.expect("(shell:) ")
			c.line("fg")
			c.expect("goes on\n")
			c.keys(ctrlC)
			c.expect("(shell:) ")
			c.line("exit 6")
			c.expect(prompt)
			c.line("echo status $?")
			c.expect("status 6\n")
			c.expect(prompt)
		})
	}
}

// A shell of "bpfctl shell" that stops itself stops bpfctl, which is a job of
// the shell before; fg continues it.
func TestSuspend(t *testing.T) {
	for _, inner := range []struct{ name, suspend string }{{"bash", "suspend"}, {"dash", "kill -STOP $$"}} {
		t.Run(inner.name, func(t *testing.T) {
			testenv.Need(t, inner.name)
			c := shell(t)
			if err := pty.Setsize(c.tty, &pty.Winsize{Rows: 24, Cols: 400}); err != nil {
				t.Fatal(err)
			}
			c.line("SHELL=$(command -v " + inner.name + ") HOME=" + t.TempDir() + " " + bpfctl + " shell -t shell:")
			c.expect("(shell:) ")
			for range 2 {
				c.line(inner.suspend)
				c.expect("Stopped")
				c.expect(prompt)
				if shown := c.answer("echo outer $((6*7))"); shown != "outer 42\n" {
					t.Errorf("the shell before says %q", shown)
				}
				c.line("fg")
				c.line("echo $BPFD_TARGET:$((6*7))")
				c.expect("shell::42\n")
				c.expect("(shell:) ")
				// It has the terminal, and its tools the target.
				c.line("sh -c 'echo up; exec sleep 1000'")
				c.expect("up\n")
				c.keys(ctrlC)
				c.expect("(shell:) ")
				c.line("stat -f -c %T /sys/kernel/tracing")
				c.expect("tracefs\n")
				c.expect("(shell:) ")
			}
			c.line("exit 6")
			c.expect(prompt)
			if status := c.answer("echo $?"); status != "6\n" {
				t.Errorf("status %q", status)
			}
		})
	}
}

// When the terminal goes while bpfctl is suspended, all ends.
func TestSuspendHangup(t *testing.T) {
	mark := fmt.Sprintf("suspended-%d", os.Getpid())
	c := shell(t)
	if err := pty.Setsize(c.tty, &pty.Winsize{Rows: 24, Cols: 400}); err != nil {
		t.Fatal(err)
	}
	c.line("SHELL=$(command -v bash) HOME=" + t.TempDir() + " " + bpfctl + " shell -t 'shell:: " + mark + "; exec " + testenv.Bin("bpfd") + "'")
	c.expect(mark + "; exec " + testenv.Bin("bpfd") + ") ")
	c.line("suspend")
	c.expect("Stopped")
	c.cmd.Process.Kill()
	c.tty.Close()
	testenv.Eventually(t, "bpfctl is still there", func() bool { return exec.Command("pgrep", "-f", mark).Run() != nil })
}
