// Package faults runs bpfctl where something goes wrong: it says what, with
// its own exit status, and leaves nothing behind.
package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var bpfctl, bpfd = absolute("../../bin/bpfctl"), absolute("../../bin/bpfd")

func absolute(path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return p
}

func TestMain(m *testing.M) {
	if _, err := os.Stat(bpfctl); err != nil || os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need bin/bpfctl, which make builds, and root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run runs a command and returns its standard output, standard error and status.
func run(t *testing.T, args ...string) (string, string, int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 10 * time.Second
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

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
			out, errs, status := run(t, append(append(args, "--"), c.tool...)...)
			if status != c.status || out != c.out || !strings.Contains(errs, c.message) || c.message == "" && errs != "" {
				t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
			}
			if c.status == 125 && strings.Count(errs, "\n") != 1 {
				t.Errorf("the message is not one line: %q", errs)
			}
		})
	}
}

// A target that dies gives the tool errors, and bpfctl a reason.
func TestTargetDies(t *testing.T) {
	out, errs, status := run(t, bpfctl, "run", "-t", "shell:timeout -s KILL 2 "+bpfd, "--", "sleep", "60")
	if status != 125 || !strings.Contains(errs, "the connection to the target is gone") || out != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
	}
}

// programs counts the programs of a type that are loaded.
func programs(t *testing.T) int {
	t.Helper()
	out, _, status := run(t, "bpftool", "prog", "list")
	if status != 0 {
		t.Fatalf("bpftool prog list: status %d", status)
	}
	return strings.Count(out, ": tracepoint ")
}

// However bpfctl ends, the tool and the target's session end with it.
func TestKilled(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			before := programs(t)
			mark := fmt.Sprintf("tracepoint:syscalls:sys_enter_openat /pid == %d/ { @ = count(); }", 1<<20+int(sig))
			cmd := exec.Command(bpfctl, "run", "-t", "shell:", "--", "bpftrace", "-e", mark)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the program is not loaded", func() bool { return programs(t) > before })
			cmd.Process.Signal(sig)
			cmd.Wait()
			eventually(t, "the program is still loaded", func() bool { return programs(t) == before })
			eventually(t, "the tool still runs", func() bool {
				return exec.Command("pgrep", "-f", fmt.Sprint(1<<20+int(sig))).Run() != nil
			})
		})
	}
}

func eventually(t *testing.T, complaint string, ok func() bool) {
	t.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(complaint)
}

// Sixteen tools at once, each with maps, programs and rings of its own.
func TestParallel(t *testing.T) {
	type result struct {
		out, errs string
		status    int
	}
	results := make(chan result)
	for i := range 16 {
		go func() {
			out, errs, status := run(t, bpfctl, "run", "-t", "shell:", "--", "bpftrace", "-e",
				fmt.Sprintf(`BEGIN { @[%d] = count(); printf("number %d\n"); exit(); }`, i, i))
			results <- result{out, errs, status}
		}()
	}
	for range 16 {
		if r := <-results; r.status != 0 || !strings.Contains(r.out, "number ") {
			t.Errorf("status %d, stdout %q, stderr %q", r.status, r.out, r.errs)
		}
	}
}

// A tool that exits while its children live takes them with it.
func TestChildren(t *testing.T) {
	out, errs, status := run(t, bpfctl, "run", "-t", "shell:", "--", "sh", "-c", "sleep 987654 & echo started")
	if out != "started\n" || status != 0 {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
	}
	eventually(t, "the child still runs", func() bool { return exec.Command("pgrep", "-f", "sleep 987654").Run() != nil })
}

// An ordinary user, with a daemon that runs as root.
func TestOrdinaryUser(t *testing.T) {
	st, err := os.Stat("/dev/fuse")
	if err != nil {
		t.Skip("this machine has no /dev/fuse")
	}
	dir, err := os.MkdirTemp("/tmp", "bpfd-user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o777)
	program, err := os.ReadFile(bpfctl)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(dir+"/bpfctl", program, 0o755)
	for _, fifo := range []string{"in", "out"} {
		if err := syscall.Mkfifo(dir+"/"+fifo, 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(dir+"/"+fifo, 0o666)
	}
	as := func(tool string) (string, string, int) {
		daemon := exec.Command("sh", "-c", bpfd+" <"+dir+"/in >"+dir+"/out")
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		defer daemon.Wait()
		return run(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME="+dir, dir+"/bpfctl", "run",
			"-t", "shell:cat "+dir+"/out & exec cat >"+dir+"/in", "--", "sh", "-c", "cd "+dir+"; "+tool)
	}
	defer os.Chmod("/dev/fuse", st.Mode().Perm())
	os.Chmod("/dev/fuse", 0o666)
	out, errs, status := as(`bpftrace -e 'BEGIN { printf("as a user\n"); exit(); }'`)
	if status != 0 || !strings.Contains(out, "as a user\n") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
	}
	if _, errs, status = as("ulimit -l unlimited"); status != 0 {
		t.Errorf("limit of locked memory: status %d, stderr %q", status, errs)
	}
	os.Chmod("/dev/fuse", 0o600)
	_, errs, status = as("true")
	if status != 125 || !strings.Contains(errs, "/dev/fuse") || !strings.Contains(errs, "chmod 666") {
		t.Errorf("without /dev/fuse: status %d, stderr %q", status, errs)
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
		out, errs, status := run(t, "env", "--default-signal=HUP,INT", "sh", "-c", script)
		if status != c.status || out != c.out || errs != "" {
			t.Errorf("%s ignored: status %d, stdout %q, stderr %q", c.ignored, status, out, errs)
		}
	}
}
