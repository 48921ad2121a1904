package load

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bpfd/test/testenv"
)

// player is a bpfd in text mode.
type player struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func startPlayer(t *testing.T) *player {
	t.Helper()
	cmd := exec.Command(bpfd)
	in, out := testenv.Piped(t, cmd)
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &player{t, in, bufio.NewScanner(out)}
}

// do sends a command and returns the lines of its reply.
func (p *player) do(line string) []string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatal(err)
	}
	var reply []string
	for p.out.Scan() {
		switch s := p.out.Text(); s {
		case "STARTED_BPFD", "START_BPFD_OUTPUT":
		case "END_BPFD_OUTPUT":
			return reply
		default:
			reply = append(reply, s)
		}
	}
	p.t.Fatalf("bpfd ended at %q", line)
	return nil
}

// A script that is played into a bpfd loads the object: it counts, and its perf
// buffers carry what it sends.
func TestScript(t *testing.T) {
	o, file := filepath.Join(t.TempDir(), "script.o"), filepath.Join(t.TempDir(), "out.txt")
	must(t, "build", "testdata/script.bpf.c", "-o", o)
	r := must(t, "load", "--script", file, o, "--for", "shell:", "--set", "step=3")
	calls, buffers := "", ""
	for line := range strings.Lines(r.Stdout) {
		f := strings.Fields(line)
		switch {
		case strings.Contains(line, " calls "):
			calls = strings.Join(f[3:], " ")
		case strings.Contains(line, " perf of CPU "):
			buffers += " " + f[0]
		}
	}
	if calls != "BPF_GET_FIRST_KEY 3 4 8 1" || buffers == "" {
		t.Fatal(r)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := startPlayer(t)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		reply := p.do(line)
		if len(reply) != 1 || !strings.Contains(reply[0], "ret=") || strings.Contains(reply[0], "ret=-") {
			t.Fatalf("%.200s: %q: %q", line, reply, p.do("LAST_ERROR"))
		}
	}
	for range 10 {
		syscall.Getpgid(0)
	}
	reply := p.do(calls)
	found := false
	for i := 0; i+1 < len(reply); i += 2 {
		key, _ := base64.StdEncoding.DecodeString(reply[i])
		value, _ := base64.StdEncoding.DecodeString(reply[i+1])
		if len(key) == 4 && len(value) == 8 && int(binary.LittleEndian.Uint32(key)) == os.Getpid() {
			n := binary.LittleEndian.Uint64(value)
			found = n >= 30 && n%3 == 0
		}
	}
	if !found {
		t.Errorf("the map does not hold our 10 calls times 3: %q", reply)
	}
	reply = p.do(fmt.Sprintf("PERF_READER_POLL 1000 %d%s", len(strings.Fields(buffers)), buffers))
	if len(reply) < 10 {
		t.Errorf("the perf buffers carried %q", reply)
	}
}

// A kernel that cannot be reached is known by its release and its BTF.
func TestScriptForRelease(t *testing.T) {
	o := source(t, tracepoint(fmt.Sprintf(core, "pid")))
	file := filepath.Join(t.TempDir(), "out.txt")
	must(t, "load", "--script", file, o, "--for", "4.14.186-perf", "--btf", "/sys/kernel/btf/vmlinux")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(text))
	if len(f) < 7 || strings.Join(append(f[:3:3], f[4:6]...), " ") != fmt.Sprintf("BPF_PROG_LOAD 5 prog GPL %d", 4<<16|14<<8|186) {
		t.Fatalf("the script is %s", text)
	}
	insns, err := base64.StdEncoding.DecodeString(f[6])
	if err != nil || fmt.Sprint(len(insns)) != f[3] {
		t.Fatalf("%s bytes are announced, there are %d: %v", f[3], len(insns), err)
	}
	for i := 0; i+8 <= len(insns); i += 8 {
		if insns[i] == 0x85 && binary.LittleEndian.Uint32(insns[i+4:]) == 113 {
			t.Error("it calls bpf_probe_read_kernel, which came with Linux 5.5")
		}
	}
}

// tracepoint has a program of this package's sources be a tracepoint's.
func tracepoint(source string) string {
	return strings.ReplaceAll(source, "raw_tp/sys_enter", "tp/sched/sched_switch")
}

func TestScriptRefused(t *testing.T) {
	perf := `struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
SEC("tp/sched/sched_switch") int prog(void *ctx) { int x = 1; return bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &x, 4); }`
	for _, c := range []struct {
		name, source string
		flags        []string
		message      string
	}{
		{"not attachable", nothing, []string{"--for", "shell:"}, "the text protocol attaches kprobes, uprobes, tracepoints and perf events"},
		{"no target", nothing, nil, "--script FILE and --for TARGET go together"},
		{"pin", nothing, []string{"--for", "shell:", "--pin", "x"}, "a script can neither pin"},
		{"CPUs", perf, []string{"--for", "5.10.0"}, "the target's CPUs must be asked for"},
		{"types", tracepoint(fmt.Sprintf(core, "pid")), []string{"--for", "5.10.0"}, "give the BTF of Linux 5.10.0 with --btf FILE"},
		{"globals", "volatile int x = 1;" + tracepoint(nothing), []string{"--for", "4.19.0"}, "global variables (.data), which take Linux 5.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "out.txt")
			r := run(t, append([]string{"load", source(t, c.source), "--script", file}, c.flags...)...)
			if r.Status != 125 || !strings.Contains(r.Stderr, c.message) {
				t.Error(r)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Error("a script was written")
			}
		})
	}
}
