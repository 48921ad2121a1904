// Package text tests the text protocol with the real bpfd and bpfctl: over
// terminals, pipes, sockets and files, with a client that does what those of
// 2018 and 2019 do.
package text

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

var bpfctl, bpfd = testenv.Bin("bpfctl"), testenv.Bin("bpfd")

func TestMain(m *testing.M) { testenv.Main(m, "bpfctl", "bpfd") }

// TestOldClient: a session as those of then have it, over a terminal.
func TestOldClient(t *testing.T) {
	cmd := exec.Command(bpfd)
	tty, slave, before := terminal(t, cmd)
	c := &oldClient{t: t, tty: tty}
	c.expect("STARTED_BPFD")
	c.expect("\n")
	if now, _ := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); now.Lflag&(unix.ICANON|unix.ECHO) != 0 {
		t.Errorf("local modes of the terminal are %#x", now.Lflag)
	}
	for _, step := range []struct{ line, ret string }{
		{"BPF_CREATE_MAP 1 counts 4 8 10240 0", "3"},
		{"BPF_CREATE_MAP 4 events 4 4 64 0 1", "4"},
		{"BPF_PROG_LOAD 5 bad 8 GPL 264721 lQAAAAAAAAA=", "-1"}, // the verifier complains, not here
		{"BPF_PROG_LOAD 5 long " + program(20000), "5"},         // more than 4,095 bytes, more than 4,096 instructions
		{"BPF_UPDATE_ELEM 3 " + key(1) + " 4 AQIDBAUGBwg= 8 0", "0"},
		{"BPF_ATTACH_KPROBE 5 0 p_none no_such_function", "-1"},
		{"BPF_ATTACH_TRACEPOINT 5 syscalls sys_enter_getpriority", "6"},
		{"BPF_OPEN_PERF_BUFFER -1 0 8", "7"},
		{"BPF_UPDATE_ELEM 4 " + key(0) + " 4 " + key(7) + " 4 0", "0"},
		{"PERF_READER_POLL 1 1 7", ""},
		{"BPF_CLOSE_PERF_EVENT_FD 6", "0"},
		{"BPF_DETACH_TRACEPOINT syscalls sys_enter_getpriority", "0"},
		{"BPF_CLEAR_MAP 3 4", "1"},
	} {
		if got := c.ret(step.line); got != step.ret {
			t.Errorf("%.60s: ret=%s, want %s; %q", step.line, got, step.ret, c.command("LAST_ERROR"))
		}
	}
	if lines := c.command("GET_KALLSYMS"); len(lines) < 1000 {
		t.Errorf("kallsyms has %d lines", len(lines))
	}
	if lines := c.command("nonsense"); len(lines) != 1 || lines[0] != "Command not recognized" {
		t.Errorf("nonsense: %q", lines)
	}
	tty.WriteString("exit\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal was %+v and is %+v, %v", before, after, err)
	}
}

// TestTerminalRestored: also by a signal, whether it comes after a command or
// before the first, and by Ctrl-D.
func TestTerminalRestored(t *testing.T) {
	for _, c := range []struct {
		name, command, keys string
		signal              syscall.Signal
	}{
		{"TERM", "BPF_CREATE_MAP 1 4 8 10240 0", "", syscall.SIGTERM}, {"TERM at once", "", "", syscall.SIGTERM},
		{"Ctrl-C", "BPF_CREATE_MAP 1 4 8 10240 0", "\x03", syscall.SIGINT}, {"Ctrl-C at once", "", "\x03", syscall.SIGINT},
		{"Ctrl-D", "BPF_CREATE_MAP 1 4 8 10240 0", "\x04", 0}, {"Ctrl-D at once", "", "\x04", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(bpfd)
			tty, slave, before := terminal(t, cmd)
			client := &oldClient{t: t, tty: tty}
			client.expect("STARTED_BPFD")
			if c.command != "" {
				client.command(c.command)
			}
			if c.keys == "" {
				cmd.Process.Signal(c.signal)
			} else {
				tty.WriteString(c.keys)
			}
			cmd.Wait()
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if c.signal != 0 && status.Signal() != c.signal || c.signal == 0 && status != 0 {
				t.Errorf("bpfd ends with %v", cmd.ProcessState)
			}
			if after, _ := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); *after != *before {
				t.Errorf("the terminal was %+v and is %+v", before, after)
			}
		})
	}
}

const commands = "BPF_CREATE_MAP 1 8 40 10240 0\nBPF_CREATE_MAP 4 4 4 2 0\r\n\nCOMM_FOR_PID 1 0"

// answers is what bpfd answers to commands.
func answers(t *testing.T) string {
	comm, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		t.Fatal(err)
	}
	out := "STARTED_BPFD\n"
	for _, reply := range []string{"bpf_create_map: ret=3\n", "bpf_create_map: ret=4\n", string(comm)} {
		out += "START_BPFD_OUTPUT\n" + reply + "END_BPFD_OUTPUT\n"
	}
	return out
}

// TestInputs: the same over a pipe, from a file, over a socket, and through bpfctl.
func TestInputs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for name, c := range map[string]struct {
		in   io.Reader
		args []string
	}{
		"pipe":        {strings.NewReader(commands), []string{bpfd}},
		"file":        {opened, []string{bpfd}},
		"bpfctl":      {strings.NewReader(commands), []string{bpfctl, "text", "-t", "shell:"}},
		"bpfctl FILE": {nil, []string{bpfctl, "text", "-t", "shell:", file}},
		"message":     {nil, []string{bpfctl, "text", "-t", "shell:echo welcome; exec " + bpfd, file}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(c.args[0], c.args[1:]...)
			var errs bytes.Buffer
			cmd.Stdin, cmd.Stderr = c.in, &errs
			out, err := cmd.Output()
			if err != nil || string(out) != answers(t) || errs.Len() > 0 {
				t.Errorf("%v: %q, want %q; %s", err, out, answers(t), errs.String())
			}
		})
	}
	t.Run("socket", func(t *testing.T) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		cmd := exec.Command(bpfd)
		cmd.Stdin, cmd.Stdout = theirs, theirs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		io.WriteString(ours, commands)
		unix.Shutdown(fds[0], unix.SHUT_WR)
		out, err := io.ReadAll(ours)
		if e := cmd.Wait(); e != nil || err != nil || string(out) != answers(t) {
			t.Errorf("%v, %v: %q", e, err, out)
		}
		ours.Close()
	})
}

// TestNothingSaid: bpfd that gets nothing ends in order.
func TestNothingSaid(t *testing.T) {
	out, err := exec.Command(bpfd).CombinedOutput()
	if err != nil || string(out) != "STARTED_BPFD\n" {
		t.Errorf("%v: %q", err, out)
	}
}

// TestMemory: a line of 60 MiB takes no more than three times that.
func TestMemory(t *testing.T) {
	cmd := exec.Command(bpfd)
	in, out := testenv.Piped(t, cmd)
	const size = 60 << 20
	io.WriteString(in, "BPF_CREATE_MAP 1 4 4 10 0\nBPF_UPDATE_ELEM 3 "+key(1)+" 4 "+strings.Repeat("AAAA", size/4-20)+" 4 0\n")
	c := &oldClient{t: t, tty: out}
	c.expect("ret=3")
	c.expect("bpf_update_elem: ret=-1")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var peak int
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Sscan(rest, &peak)
	if peak == 0 || peak<<10 > 3*size {
		t.Errorf("a line of %d bytes took %d kB", size, peak)
	}
	t.Logf("%d kB for a line of %d", peak, size>>10)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestConversation: bpfctl text on a terminal edits lines and ends polls.
func TestConversation(t *testing.T) {
	cmd := exec.Command(bpfctl, "text", "-t", "shell:")
	state := t.TempDir()
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
	tty, slave, _ := terminal(t, cmd)
	c := &oldClient{t: t, tty: tty}
	c.expect("bpfd> ")
	press := func(keys string) {
		t.Helper()
		if _, err := tty.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	press("BPF_CREATE_MAP 1 4 8 100 0\r")
	c.expect("\nbpf_create_map: ret=3\r\n")
	c.expect("bpfd> ")
	press("\x1b[A\r") // the line before
	c.expect("\nbpf_create_map: ret=4\r\n")
	c.expect("bpfd> ")
	press("comm\t1\r") // TAB completes
	comm, _ := os.ReadFile("/proc/1/comm")
	c.expect(strings.TrimSpace(string(comm)))
	c.expect("bpfd> ")
	press("BPF_LOOKUP_ELEM 3 " + key(1) + " 4 8\r")
	c.expect("ret=-1\r\nBPF_LOOKUP_ELEM: no such file or directory\r\n")
	c.expect("bpfd> ")
	press("PERF_READER_POLL -1 0\r")
	c.expect("PERF_READER_POLL -1 0\r\n")
	// While the answer is awaited Ctrl-C is a signal, which ends the poll.
	for isig := false; !isig; {
		state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		isig = err != nil || state.Lflag&unix.ISIG != 0
	}
	press("\x03")
	c.expect("bpfd> ")
	press("BPF_CREATE_MAP 1 8\x01\x03") // one that came too late, or drops a line
	c.expect("bpfd> ")
	press("\x1b[200~BPF_CREATE_MAP 1 4 8 99 0\r\x1b[201~") // is pasted
	c.expect("\nbpf_create_map: ret=5\r\n")
	c.expect("bpfd> ")
	press("GET_TRACE_EVENTS /no such\r")
	c.expect("recognized\r\nGET_TRACE_EVENTS: /no/events/such: no such file or directory\r\n")
	c.expect("bpfd> ")
	press("exit 0\r")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(state, "bpfd/text_history"))
	if err != nil || !strings.HasPrefix(string(b), "BPF_CREATE_MAP 1 4 8 100 0\n") {
		t.Errorf("%v: the history is %q", err, b)
	}
}

// TestUnanswered: Ctrl-C ends the session where it cannot end the command, and
// who waits for a target that says nothing is told.
func TestUnanswered(t *testing.T) {
	cmd := exec.Command(bpfctl, "text", "-t", "shell:sleep 4; exec "+bpfd)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
	tty, slave, _ := terminal(t, cmd)
	c := &oldClient{t: t, tty: tty}
	c.expect("no bpfd has answered yet\r\n")
	c.expect("bpfd> ")
	tty.WriteString("WAIT 100000\r")
	c.expect("WAIT 100000\r\n")
	for isig := false; !isig; {
		state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		isig = err != nil || state.Lflag&unix.ISIG != 0
	}
	tty.WriteString("\x03")
	c.expect("Ctrl-C again ends the session")
	tty.WriteString("\x03")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("status %d", code)
	}
}

// TestTerminalBetween: where a terminal is on the way, as with ssh -t or a serial
// line, it ends lines with CR LF.
func TestTerminalBetween(t *testing.T) {
	file := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(file, []byte(commands+"\nexit at once\nCOMM_FOR_PID 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bpfctl, "text", "-t", "shell:script -qfec 'exec "+bpfd+"' /dev/null", file)
	if out, err := cmd.Output(); err != nil || string(out) != answers(t) {
		t.Errorf("%v: %q, want %q", err, out, answers(t))
	}
}

// TestNoProtocol: something else at the other end is not listened to for ever,
// whether it ends its lines or not.
func TestNoProtocol(t *testing.T) {
	for _, command := range []string{"cat /dev/zero", "yes no", "echo welcome", "true"} {
		cmd := exec.Command("sh", "-c", `ulimit -v 4000000; exec "$0" text -t "shell:exec $1" /dev/null`, bpfctl, command)
		start := time.Now()
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 125 || !bytes.Contains(out, []byte("no bpfd")) || time.Since(start) > 4*time.Second {
			t.Errorf("%s: %v after %v: %.300s", command, err, time.Since(start), out)
		}
	}
}

// TestInterrupt: Ctrl-C while a file is played ends the session on the target, and
// so do other signals.
func TestInterrupt(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) { interrupt(t, sig) })
	}
}

func interrupt(t *testing.T, sig syscall.Signal) {
	dir := t.TempDir()
	file, pid := filepath.Join(dir, "commands"), filepath.Join(dir, "pid")
	if err := os.WriteFile(file, []byte("BPF_CREATE_MAP 1 4 8 100 0\nPERF_READER_POLL -1 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bpfctl, "text", "-t", "shell:echo $$ >"+pid+"; exec "+bpfd, file)
	out := testenv.Output(t, cmd)
	c := &oldClient{t: t, tty: out}
	c.expect("ret=3\nEND_BPFD_OUTPUT\n")
	cmd.Process.Signal(sig)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(sig) {
		t.Errorf("status %d", code)
	}
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(b))); err == nil {
		t.Error("bpfd is still there")
	}
}

// TestExample: the one that runs on every kernel prints what is opened.
func TestExample(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/tracing/events/syscalls/sys_enter_openat"); err != nil {
		t.Skip("this kernel has no tracepoints of system calls")
	}
	marker := filepath.Join(t.TempDir(), "opened")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bpfctl, "text", "-t", "shell:", "../../doc/examples/opensnoop-tracepoint.txt")
	out := testenv.Output(t, cmd)
	c := &oldClient{t: t, tty: out}
	c.expect("bpf_attach_tracepoint: ret=7\n")
	opens(t, marker, 0)
	opens(t, marker, 1)
	rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(c.b), out))
	if e := cmd.Wait(); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if n := shown(string(rest), marker); n == 0 {
		t.Errorf("%s was not seen in %q", marker, rest)
	}
}

// TestFailures: why commands of a file failed is told beside the protocol, which
// stays as it is, and the others are played.
func TestFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "commands")
	lines := "\x01foo\n\nCOMM_FOR_PID 2000000000\nBPF_CREATE_MAP 1 8 40 10 0\nBPF_PROG_LOAD 5 bad 8 GPL 264721 lQAAAAAAAAA=\nCOMM_FOR_PID 1\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bpfctl, "text", "-t", "shell:", file)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v", err)
	}
	if direct, err := exec.Command("sh", "-c", "{ echo; cat "+file+"; } | "+bpfd).Output(); err != nil || !bytes.Equal(out, direct) {
		t.Errorf("%v: bpfctl prints %q, bpfd %q", err, out, direct)
	}
	for _, want := range []string{`:1: "\x01foo": no such command`, ":3: COMM_FOR_PID: /proc/2000000000/comm: no such file or directory\n",
		":5: BPF_PROG_LOAD: ", ":5: R0 !read_ok\n"} {
		if !strings.Contains(errs.String(), file+want) {
			t.Errorf("%q is not in %s", want, errs.String())
		}
	}
	if strings.Contains(errs.String(), ":4:") || strings.Contains(errs.String(), ":6:") {
		t.Errorf("what has not failed is in %s", errs.String())
	}
}

// TestAnnouncementHere: where the example of 2017 cannot run, it is said why.
func TestAnnouncementHere(t *testing.T) {
	want := "BPF_ATTACH_KPROBE: this kernel has no kprobes"
	if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err == nil {
		want = "BPF_ATTACH_KPROBE: the kernel has no function sys_open"
	}
	const file = "../../doc/examples/opensnoop-kprobe.txt"
	cmd := exec.Command(bpfctl, "text", "-t", "shell:", file)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte("bpf_prog_load: ret=6\n")) {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(errs.String(), file+":9: "+want) {
		t.Errorf("%q is not in %s", want, errs.String())
	}
}

// opens has a process on a CPU open a file; a machine may have one CPU only.
func opens(t *testing.T, path string, cpu int) {
	t.Helper()
	exec.Command("taskset", "-c", fmt.Sprint(cpu), "cat", path).Run()
}

// shown counts the records of 88 bytes that end with a path.
func shown(out, path string) (n int) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 3 || f[1] != "92" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(f[2])
		if err == nil && len(b) == 92 && bytes.Contains(b, []byte(path[:min(len(path), 50)])) {
			n++
		}
	}
	return n
}
