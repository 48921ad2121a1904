package faults

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A target that does not answer, but is there: the first signal tells, the
// second ends a tool which waits for a file of the target.
func TestSilentTarget(t *testing.T) {
	pid := t.TempDir() + "/pid"
	cmd := exec.Command(bpfctl, "run", "-t", "shell:echo $$ >"+pid+"; exec "+bpfd, "--", "sh", "-c",
		"echo up >&2; while :; do cat /proc/sys/kernel/osrelease; done")
	var tail strings.Builder
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(errs)
	next := func() string { lines.Scan(); tail.WriteString(lines.Text() + "\n"); return lines.Text() }
	up := next()
	b, _ := os.ReadFile(pid)
	daemon, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || up != "up" {
		cmd.Process.Kill()
		t.Fatal(err, up)
	}
	defer syscall.Kill(daemon, syscall.SIGKILL)
	syscall.Kill(daemon, syscall.SIGSTOP)
	time.Sleep(100 * time.Millisecond) // the tool comes to its next file
	cmd.Process.Signal(syscall.SIGINT)
	if !strings.Contains(next(), "the target does not answer") {
		cmd.Process.Kill()
		t.Fatal(tail.String())
	}
	cmd.Process.Signal(syscall.SIGINT)
	for lines.Scan() {
		tail.WriteString(lines.Text() + "\n")
	}
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 125 {
		t.Errorf("status %v after %s", cmd.ProcessState, tail.String())
	}
	if last := strings.Split(strings.TrimSpace(tail.String()), "\n"); !strings.Contains(last[len(last)-1], "the target does not answer") {
		t.Errorf("the last word is not of the target: %s", tail.String())
	}
}
