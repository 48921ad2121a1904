// Package doctor runs bpfctl doctor, ps and pid against a bpfd on this
// machine, and holds what they say against what is so.
package doctor

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bpfd/internal/doctor"
)

const target = "shell:"

func bpfctl(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	path, err := filepath.Abs("../../bin/bpfctl")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%v (make builds bin/bpfctl)", err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestDoctor(t *testing.T) {
	out, errs, status := bpfctl(t, "doctor", "-t", target, "--json")
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 {
		t.Fatalf("%v: status %d, %q", err, status, errs)
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
	text, _, _ := bpfctl(t, "doctor", "-t", target)
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
	if _, errs, status := bpfctl(t, "run", "-t", target, "--", "tcpconnect"); status != 1 || !strings.Contains(errs, cause) {
		t.Errorf("status %d, %s", status, errs)
	}
	if _, errs, status := bpfctl(t, "run", "-t", target, "--", "false"); status != 1 || errs != "" {
		t.Errorf("false: status %d, %q", status, errs)
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
	if out, errs, status := bpfctl(t, "pid", "-t", target, name); out != pids || status != 0 {
		t.Errorf("printed %q, want %q; %s", out, pids, errs)
	}
	first, _, _ := strings.Cut(pids, "\n")
	if out, _, _ := bpfctl(t, "pid", "-t", target, "--one", name); out != first+"\n" {
		t.Errorf("the oldest is %q, want %q", out, first)
	}
	if out, _, status := bpfctl(t, "ps", "-t", target); status != 0 || !strings.Contains(out, program+" 100\n") {
		t.Errorf("status %d, no %s in %s", status, program, out)
	}
	if out, errs, status := bpfctl(t, "pid", "-t", target, "no-such-process"); status == 0 || out != "" || !strings.Contains(errs, "shell:: no process is called") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}
