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
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// play has bpfctl play a file of commands in a guest.
func play(t *testing.T, ctx context.Context, v *vm.VM, commands string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, bpfctl, "text", "-t", v.TargetTCP(), file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// announcement is the example of 2017, for kernels of today, which have no
// sys_open that takes a path.
func announcement(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile("../../doc/examples/opensnoop-kprobe.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(example), " sys_open ", " getname ")
}

// opened has a guest open /etc/passwd again and again until the test ends.
func opened(t *testing.T, v *vm.VM) {
	t.Helper()
	opening := &vm.Cmd{Args: []string{"/bin/sh", "-c", "while :; do cat /etc/passwd; sleep 0.1; done"}}
	if err := v.Start(opening); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opening.Kill)
}

// checkAnnouncement judges what the example answered.
func checkAnnouncement(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{"bpf_prog_load: ret=5\n", "bpf_prog_load: ret=6\n", "bpf_attach_kprobe: ret=5\n", "bpf_attach_kprobe: ret=6\n", "bpf_detach_kprobe: ret=0\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not there", want)
		}
	}
	if shown(out, "/etc/passwd") == 0 {
		t.Errorf("/etc/passwd was not seen in %s", out)
	}
}

// TestAnnouncement: the example of 2017 runs on a kernel with kprobes.
func TestAnnouncement(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Limit)
	defer cancel()
	v := vm.Start(t, "6.1-amd64")
	opened(t, v)
	checkAnnouncement(t, play(t, ctx, v, announcement(t)))
}

// TestARM64: what a guest of another architecture is booted for once.
func TestARM64(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Limit)
	defer cancel()
	v := vm.Start(t, "6.1-arm64")
	opened(t, v)
	t.Run("kprobes", func(t *testing.T) { kprobes(t, ctx, v) })
	t.Run("announcement", func(t *testing.T) {
		// The first argument and the result are in other registers.
		commands := announcement(t)
		commands = replaceCode(t, commands, []byte{0x79, 0x17, 112, 0, 0, 0, 0, 0}, []byte{0x79, 0x17, 0, 0, 0, 0, 0, 0}) // r7 = r1->di
		commands = replaceCode(t, commands, []byte{0x79, 0x61, 80, 0, 0, 0, 0, 0}, []byte{0x79, 0x61, 0, 0, 0, 0, 0, 0})  // r1 = r6->ax
		checkAnnouncement(t, play(t, ctx, v, commands))
	})
	t.Run("tracepoint", func(t *testing.T) {
		example, err := os.ReadFile("../../doc/examples/opensnoop-tracepoint.txt")
		if err != nil {
			t.Fatal(err)
		}
		if out := play(t, ctx, v, string(example)); shown(out, "/etc/passwd") == 0 {
			t.Errorf("/etc/passwd was not seen in %s", out)
		}
	})
}

// kprobes: all dialects; a definition in tracefs, which maxactive needs, is
// there meanwhile and gone after the session.
func kprobes(t *testing.T, ctx context.Context, v *vm.VM) {
	// bpfd mounts what is missing for itself alone.
	const definitions = "mount -t tracefs tracefs /sys/kernel/tracing; cat /sys/kernel/tracing/kprobe_events"
	cmd := exec.CommandContext(ctx, bpfctl, "text", "-t", v.TargetTCP())
	in, out := testenv.Piped(t, cmd)
	c := &oldClient{t: t, tty: out}
	tell := func(line string) []string {
		io.WriteString(in, line+"\n")
		return strings.Split(c.expect("END_BPFD_OUTPUT\n"), "\n")
	}
	for _, step := range []struct {
		line string
		ret  int
	}{
		{"BPF_PROG_LOAD 2 " + program(1), 3},
		{"BPF_ATTACH_KPROBE 3 0 p_a getname -1 0 -1", 3},
		{"BPF_ATTACH_KPROBE 3 1 r_b getname", 5},
		{"BPF_ATTACH_KPROBE 3 0 p_e getname 0 0", 6},
		{"BPF_ATTACH_KPROBE 3 1 r_e getname 0 16", 7},
		{"BPF_ATTACH_KPROBE 3 0 p_none no_such_function", -1},
		{"BPF_DETACH_KPROBE p_a", 0},
		{"BPF_CLOSE_PERF_EVENT_FD 5", 0}, // as clients of D and E
		{"BPF_DETACH_KPROBE r_b", 0},
		{"BPF_DETACH_KPROBE r_b", -1},
	} {
		if got := strings.Join(tell(step.line), "\n"); !strings.Contains(got, fmt.Sprintf("ret=%d\n", step.ret)) {
			t.Errorf("%.60s: %s, want %d; %q", step.line, got, step.ret, tell("LAST_ERROR"))
		}
	}
	if got := strings.Join(tell("GET_AVAIL_FILTER_FUNCS /sys/kernel/tracing"), "\n"); !strings.Contains(got, "\nvfs_read\n") {
		t.Errorf("vfs_read is not among the %d bytes of functions", len(got))
	}
	if got := strings.Join(tell("GET_KPROBES_BLACKLIST /sys/kernel/debug/tracing"), "\n"); !strings.Contains(got, "0x") {
		t.Errorf("the blacklist is %.200q", got)
	}
	if there, err := v.Run(ctx, definitions); err != nil || !strings.Contains(there.Stdout, "getname") {
		t.Errorf("%v: kprobe_events: %s", err, there)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left, err := v.Run(ctx, definitions); err != nil || strings.Contains(left.Stdout, "getname") {
		t.Errorf("%v: kprobe_events: %s", err, left)
	}
}

// replaceCode replaces an instruction in all programs of a file of commands.
func replaceCode(t *testing.T, commands string, old, new []byte) string {
	t.Helper()
	found := false
	lines := strings.Split(commands, "\n")
	for i, line := range lines {
		f := strings.Fields(line)
		if len(f) != 6 || f[0] != "BPF_PROG_LOAD" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(f[5])
		if err != nil {
			t.Fatal(err)
		}
		for j := 0; j < len(b); j += len(old) {
			if bytes.Equal(b[j:j+len(old)], old) {
				copy(b[j:], new)
				found = true
			}
		}
		f[5] = base64.StdEncoding.EncodeToString(b)
		lines[i] = strings.Join(f, " ")
	}
	if !found {
		t.Fatalf("no instruction %x", old)
	}
	return strings.Join(lines, "\n")
}
