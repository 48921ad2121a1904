// Package doctor runs bpfctl doctor, ps and pid against a bpfd on this
// machine, and holds what they say against what is so.
package doctor

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bpfd/internal/doctor"
	"bpfd/test/testenv"
)

const target = "shell:"

func TestMain(m *testing.M) { testenv.Main(m, "bpfctl") }

func bpfctl(t *testing.T, args ...string) testenv.Outcome {
	t.Helper()
	return testenv.Run(t, append([]string{testenv.Bin("bpfctl")}, args...)...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestDoctor(t *testing.T) {
	o := bpfctl(t, "doctor", "-t", target, "--json")
	var r doctor.Report
	if err := json.Unmarshal([]byte(o.Stdout), &r); err != nil || o.Status != 0 {
		t.Fatalf("%v: %v", err, o)
	}
	findings := make(map[string]doctor.Finding)
	for _, f := range r.Findings {
		findings[f.Name] = f
	}
	for name, want := range map[string]bool{
		"bpf(2)":              true,
		"BTF":                 exists("/sys/kernel/btf/vmlinux"),
		"kprobes":             exists("/sys/bus/event_source/devices/kprobe"),
		"uprobes":             exists("/sys/bus/event_source/devices/uprobe"),
		"syscall tracepoints": exists("/sys/kernel/tracing/events/syscalls") || exists("/sys/kernel/debug/tracing/events/syscalls"),
	} {
		if f, ok := findings[name]; !ok || f.OK != want || !f.OK && f.Advice == "" {
			t.Errorf("%s: %+v, want %v", name, f, want)
		}
	}
	if r.Facts.RTT <= 0 || r.Facts.Rate <= 0 || r.Facts.Offset < -time.Minute || r.Facts.Offset > time.Minute {
		t.Errorf("the link: %+v", r.Facts)
	}
	if len(r.Tools) == 0 {
		t.Fatal("no tools were found")
	}
	// A verdict is what the tool itself does.
	for _, tool := range r.Tools {
		if tool.Tool != "tcpconnect" && tool.Tool != "runqlat" && tool.Tool != "vfsstat" {
			continue
		}
		out, err := exec.Command("timeout", "-s", "INT", "2", tool.Tool).CombinedOutput()
		failed := err != nil && strings.Contains(string(out), "failed")
		if failed == tool.OK {
			t.Errorf("%+v, but it printed %s", tool, out)
		}
	}
	text := bpfctl(t, "doctor", "-t", target).Stdout
	for _, want := range []string{"ok  kernel", "BPF tools on this machine will work on shell:"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q: %s", want, text)
		}
	}
}

// What a target lacks is said when a tool has failed for the lack of it.
func TestCause(t *testing.T) {
	if exists("/sys/bus/event_source/devices/kprobe") {
		t.Skip("this kernel has kprobes (CONFIG_KPROBE_EVENTS)")
	}
	const cause = "bpfctl: shell:: the kernel has no kprobes"
	if o := testenv.RunRemote(t, target, "tcpconnect"); o.Status != 1 || !strings.Contains(o.Stderr, cause) {
		t.Error(o)
	}
	if o := testenv.RunRemote(t, target, "false"); o.Status != 1 || o.Stderr != "" {
		t.Errorf("false: %v", o)
	}
}

func TestPid(t *testing.T) {
	name := "bpfd-test-" + strconv.Itoa(os.Getpid()%1000)
	program := filepath.Join(t.TempDir(), name)
	sleep, err := exec.LookPath("sleep")
	if err == nil {
		err = os.Symlink(sleep, program)
	}
	if err != nil {
		t.Fatal(err)
	}
	var pids string
	for range 2 {
		cmd := exec.Command(program, "100")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
		pids += strconv.Itoa(cmd.Process.Pid) + "\n"
		time.Sleep(20 * time.Millisecond) // the clock's tick tells which is older
	}
	if o := bpfctl(t, "pid", "-t", target, name); o.Stdout != pids || o.Status != 0 {
		t.Errorf("%v; want %q", o, pids)
	}
	first, _, _ := strings.Cut(pids, "\n")
	if o := bpfctl(t, "pid", "-t", target, "--one", name); o.Stdout != first+"\n" {
		t.Errorf("%v; the oldest is %s", o, first)
	}
	if o := bpfctl(t, "ps", "-t", target); o.Status != 0 || !strings.Contains(o.Stdout, program+" 100\n") {
		t.Errorf("no %s: %v", program, o)
	}
	if o := bpfctl(t, "pid", "-t", target, "no-such-process"); o.Status == 0 || o.Stdout != "" || !strings.Contains(o.Stderr, "shell:: no process is called") {
		t.Error(o)
	}
}
