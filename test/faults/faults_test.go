// Package faults runs bpfctl where something goes wrong: it says what, with
// its own exit status, and leaves nothing behind.
package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bpfd/test/testenv"
)

var bpfctl, bpfd = testenv.Bin("bpfctl"), testenv.Bin("bpfd")

func TestMain(m *testing.M) { testenv.Main(m, "bpfctl", "bpfd") }

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name, target string
		tool         []string
		status       int
		out, message string
	}{
		{"success", "shell:", []string{"echo", "hello"}, 0, "hello\n", ""},
		{"tool's status", "shell:", []string{"sh", "-c", "exit 7"}, 7, "", ""},
		{"signal", "shell:", []string{"sh", "-c", "kill -TERM $$"}, 143, "", ""},
		{"not found", "shell:", []string{"no-such-tool"}, 127, "", "no-such-tool: not found"},
		{"no such file", "shell:", []string{"/no/such/tool"}, 127, "", "/no/such/tool: no such file"},
		{"not executable", "shell:", []string{"/etc/hostname"}, 126, "", "/etc/hostname"},
		{"no target", "", []string{"true"}, 125, "", "which target?"},
		{"unknown target", "gopher://x", []string{"true"}, 125, "", "is no target"},
		{"silent command", "shell:exit 3", []string{"true"}, 125, "", "without a word"},
		{"other command", "shell:echo I am a teapot", []string{"true"}, 125, "", "I am a teapot"},
		{"complaint", "shell:echo no space left >&2; exit 1", []string{"true"}, 125, "", "no space left"},
		{"other version", `shell:printf '\001bpfd\r\n\032\002\000\000\000\002\000\000\000\000\000\000\000\011\000'; cat >/dev/null`, []string{"true"}, 125, "", "version 9"},
		{"banner", "shell:echo welcome; exec " + bpfd, []string{"echo", "hello"}, 0, "hello\n", ""},
		{"garbage after hello", `shell:(head -c 10 >/dev/null; printf 'x')`, []string{"true"}, 125, "", "no bpfd answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{bpfctl, "run"}
			if c.target != "" {
				args = append(args, "-t", c.target)
			}
			o := testenv.Run(t, append(append(args, "--"), c.tool...)...)
			if o.Status != c.status || o.Stdout != c.out || !strings.Contains(o.Stderr, c.message) || c.message == "" && o.Stderr != "" {
				t.Error(o)
			}
			if c.status == 125 && strings.Count(o.Stderr, "\n") != 1 {
				t.Errorf("the message is not one line: %q", o.Stderr)
			}
		})
	}
}

// A target that dies gives the tool errors, and bpfctl a reason.
func TestTargetDies(t *testing.T) {
	o := testenv.RunRemote(t, "shell:timeout -s KILL 2 "+bpfd, "sleep", "60")
	if o.Status != 125 || !strings.Contains(o.Stderr, "the connection to the target is gone") || o.Stdout != "" {
		t.Error(o)
	}
}

// programs counts the programs of a type that are loaded.
func programs(t *testing.T) int {
	t.Helper()
	return strings.Count(testenv.Must(t, testenv.Run(t, "bpftool", "prog", "list")).Stdout, ": tracepoint ")
}

// However bpfctl ends, the tool and the target's session end with it.
func TestKilled(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			before := programs(t)
			mark := fmt.Sprintf("tracepoint:syscalls:sys_enter_openat /pid == %d/ { @ = count(); }", 1<<20+int(sig))
			line := testenv.Remote("shell:", "bpftrace", "-e", mark)
			cmd := exec.Command(line[0], line[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			testenv.Eventually(t, "the program is not loaded", func() bool { return programs(t) > before })
			cmd.Process.Signal(sig)
			cmd.Wait()
			testenv.Eventually(t, "the program is still loaded", func() bool { return programs(t) == before })
			testenv.Eventually(t, "the tool still runs", func() bool {
				return exec.Command("pgrep", "-f", fmt.Sprint(1<<20+int(sig))).Run() != nil
			})
		})
	}
}

// Sixteen tools at once, each with maps, programs and rings of its own.
func TestParallel(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			number := fmt.Sprintf("number %d\n", i)
			o := testenv.RunRemote(t, "shell:", "bpftrace", "-e",
				fmt.Sprintf(`BEGIN { @[%d] = count(); printf(%q); exit(); }`, i, number))
			if o.Status != 0 || !strings.Contains(o.Stdout, number) {
				t.Error(o)
			}
		})
	}
	wg.Wait()
}

// A tool that exits while its children live takes them with it.
func TestChildren(t *testing.T) {
	o := testenv.RunRemote(t, "shell:", "sh", "-c", "sleep 987654 & echo started")
	if o.Stdout != "started\n" || o.Status != 0 {
		t.Error(o)
	}
	testenv.Eventually(t, "the child still runs", func() bool { return exec.Command("pgrep", "-f", "sleep 987654").Run() != nil })
}

// An ordinary user, with a daemon that runs as root.
func TestOrdinaryUser(t *testing.T) {
	st, err := os.Stat("/dev/fuse")
	if err != nil {
		t.Skip("this machine has no /dev/fuse")
	}
	dir, program := copied(t)
	for _, fifo := range []string{"in", "out"} {
		if err := syscall.Mkfifo(dir+"/"+fifo, 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(dir+"/"+fifo, 0o666)
	}
	as := func(tool string) testenv.Outcome {
		daemon := exec.Command("sh", "-c", bpfd+" <"+dir+"/in >"+dir+"/out")
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		defer daemon.Wait()
		return testenv.Run(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME="+dir, program, "run",
			"-t", "shell:cat "+dir+"/out & exec cat >"+dir+"/in", "--", "sh", "-c", "cd "+dir+"; "+tool)
	}
	defer os.Chmod("/dev/fuse", st.Mode().Perm())
	os.Chmod("/dev/fuse", 0o666)
	if o := as(`bpftrace -e 'BEGIN { printf("as a user\n"); exit(); }'`); o.Status != 0 || !strings.Contains(o.Stdout, "as a user\n") {
		t.Error(o)
	}
	// The limit is the daemon's, whom this machine's root may not permit it either.
	const raise = "ulimit -l unlimited"
	if o, root := as(raise), testenv.Run(t, "sh", "-c", raise); o.Status != root.Status {
		t.Errorf("limit of locked memory: %v, and root's: %v", o, root)
	}
	os.Chmod("/dev/fuse", 0o600)
	if o := as("true"); o.Status != 125 || !strings.Contains(o.Stderr, "/dev/fuse") || !strings.Contains(o.Stderr, "chmod 666") {
		t.Errorf("without /dev/fuse: %v", o)
	}
}

// Signals that were ignored before bpfctl began are ignored by the tool, as
// nohup(1) wants it; others are not.
func TestIgnoredSignals(t *testing.T) {
	for _, c := range []struct {
		ignored string
		status  int
		out     string
	}{
		{"HUP INT", 0, "survived\n"},
		{"USR1", 129, ""},
	} {
		script := "trap '' " + c.ignored + "; exec " + bpfctl + " run -t shell: -- sh -c 'kill -HUP $$; kill -INT $$; echo survived'"
		// A shell cannot end the ignoring of what its parent ignores.
		o := testenv.Run(t, "env", "--default-signal=HUP,INT", "sh", "-c", script)
		if o != (testenv.Outcome{Stdout: c.out, Status: c.status}) {
			t.Errorf("%s ignored: %v", c.ignored, o)
		}
	}
}
