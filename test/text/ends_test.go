package text

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

// lives says whether a process has not ended; its parent may not have noticed.
func lives(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	_, state, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// names counts the maps and programs that have a name.
func names(t *testing.T, name string) (n int) {
	t.Helper()
	for _, kind := range []string{"map", "prog"} {
		out, err := exec.Command("bpftool", kind, "list").Output()
		if err != nil {
			t.Fatalf("bpftool %s list: %v", kind, err)
		}
		n += strings.Count(string(out), "name "+name+" ")
	}
	return n
}

// watched is a shell target whose bpfd's process is known by a file.
func watched(dir, before string) string {
	return "shell:" + before + "echo $$ >" + dir + "/pid; exec " + bpfd
}

func pidOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestKilled: bpfctl is killed while bpfd waits, writes or reads symbols; bpfd
// and all that it has made are gone.
func TestKilled(t *testing.T) {
	const objects = "BPF_CREATE_MAP 2 MARK 4 64 500000 0\nBPF_PROG_LOAD 5 MARK PROGRAM\n" +
		"BPF_ATTACH_TRACEPOINT 4 syscalls sys_enter_getpriority\nBPF_OPEN_PERF_BUFFER -1 0 8\n"
	for name, c := range map[string]struct{ commands, until string }{
		"idle":         {"", "ret=6"},
		"poll forever": {"PERF_READER_POLL -1 1 6\n", "ret=6"},
		"poll":         {"PERF_READER_POLL 100000000 1 6\n", "ret=6"},
		"pause":        {"WAIT 100000000\n", "ret=6"},
		"dump":         {"BPF_GET_FIRST_KEY 3 4 64 1\n", "AAAA"},
		"file":         {"GET_KALLSYMS\n", " T "},
		"symbols": {"GET_KSYM_ADDR no_such_function\nGET_USYM_ADDR PID no_such_function bpfctl\n" +
			strings.Repeat("GET_USYM_NAME PID 4198400 1\n", 1000), "ret=6"},
		"half a line": {"BPF_UPDATE_ELEM 3 AAA", "ret=6"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mark := fmt.Sprintf("k%d_%d", os.Getpid(), len(name))
			cmd := exec.Command(bpfctl, "text", "-t", watched(dir, ""))
			in, out := testenv.Piped(t, cmd)
			defer in.Close()
			go strings.NewReplacer("MARK", mark, "PROGRAM", program(1), "PID", fmt.Sprint(cmd.Process.Pid)).WriteString(in, objects+c.commands)
			client := &oldClient{t: t, tty: out}
			client.expect(c.until)
			if n := names(t, mark); n != 2 {
				t.Errorf("%d objects are there", n)
			}
			pid := pidOf(t, dir)
			cmd.Process.Kill()
			cmd.Wait()
			testenv.Eventually(t, "bpfd is still there", func() bool { return !lives(pid) })
			testenv.Eventually(t, "what it made is still there", func() bool { return names(t, mark) == 0 })
		})
	}
}

// TestConversationKilled: the death of bpfctl hangs its terminal up, and bpfd
// ends, also if that signal was ignored when it began.
func TestConversationKilled(t *testing.T) {
	for _, before := range []string{"", "trap '' HUP INT; "} {
		t.Run(before, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(bpfctl, "text", "-t", watched(dir, before))
			cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir)
			tty, _, _ := terminal(t, cmd)
			c := &oldClient{t: t, tty: tty}
			c.expect("bpfd> ")
			tty.WriteString("BPF_CREATE_MAP 1 4 8 100 0\r")
			c.expect("ret=3\r\n")
			tty.WriteString("PERF_READER_POLL -1 0\r")
			c.expect("PERF_READER_POLL -1 0\r\n")
			pid := pidOf(t, dir)
			cmd.Process.Kill()
			cmd.Wait()
			testenv.Eventually(t, "bpfd is still there", func() bool { return !lives(pid) })
		})
	}
}

// start starts bpfd over pipes, by a shell that sets what it ignores.
func start(t *testing.T, before string) (cmd *exec.Cmd, in io.WriteCloser, c *oldClient) {
	t.Helper()
	// A shell cannot end the ignoring of what its parent ignores.
	cmd = exec.Command("env", "--default-signal=HUP,INT", "sh", "-c", before+"exec "+bpfd)
	in, out := testenv.Piped(t, cmd)
	c = &oldClient{t: t, tty: out}
	c.expect("STARTED_BPFD\n")
	return cmd, in, c
}

// TestIgnoredSignals: signals that were ignored when bpfd began are ignored; the
// session goes on, and ends with its input.
func TestIgnoredSignals(t *testing.T) {
	cmd, in, c := start(t, "trap '' HUP INT; ")
	io.WriteString(in, "BPF_CREATE_MAP 1 4 8 100 0\n")
	c.expect("ret=3\nEND_BPFD_OUTPUT\n")
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGINT)
	io.WriteString(in, "BPF_CREATE_MAP 1 4 8 100 0\n")
	c.expect("ret=4\nEND_BPFD_OUTPUT\n")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSignals: each ends bpfd whatever it is doing, also when it writes what
// nobody reads.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		for name, commands := range map[string]string{"idle": "", "poll": "PERF_READER_POLL -1 0\n", "output": "GET_KALLSYMS\n"} {
			t.Run(fmt.Sprint(name, " ", sig), func(t *testing.T) {
				cmd, in, c := start(t, "")
				io.WriteString(in, "BPF_CREATE_MAP 1 4 8 100 0\n"+commands)
				c.expect("ret=3\nEND_BPFD_OUTPUT\n")
				if name == "output" {
					fd := int(c.tty.Fd())
					testenv.Eventually(t, "the pipe is not full", func() bool {
						n, _ := unix.IoctlGetInt(fd, unix.TIOCINQ)
						return n >= 60<<10
					})
				}
				cmd.Process.Signal(sig)
				cmd.Wait()
				if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != sig {
					t.Errorf("bpfd ends with %v", cmd.ProcessState)
				}
			})
		}
	}
}

// TestFIFO: a file that a client names and that never has anything to read
// keeps nobody.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "available_filter_functions"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, in, c := start(t, "")
	io.WriteString(in, "GET_AVAIL_FILTER_FUNCS "+dir+"\n")
	c.expect("START_BPFD_OUTPUT\nEND_BPFD_OUTPUT\n")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
