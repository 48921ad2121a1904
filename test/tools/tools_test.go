// Package tools runs real tools natively and through bpfctl, on the same load,
// and compares what they print.
package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const bpfctl = "../../bin/bpfctl"

// limit is how long a tool may take; those that never end by themselves are
// interrupted by the case.
const limit = 2 * time.Minute

// outcome is what a run leaves.
type outcome struct {
	stdout, stderr string
	status         int
}

func (o outcome) String() string {
	return fmt.Sprintf("status %d\n--- stdout\n%s\n--- stderr\n%s", o.status, o.stdout, o.stderr)
}

// invocation is a command and what happens while it runs.
type invocation struct {
	args  []string
	stdin string
	load  func(context.Context) // runs beside it
	// A tool that never ends by itself is interrupted when its output matches
	// all of these, or after settle if that never happens.
	until []string
}

const (
	// settle is how long an interrupted tool may take to print what is wanted.
	settle = 30 * time.Second
	// quiet is how long the load has stopped before a tool is interrupted: one
	// in Python prints a traceback if that happens inside of a callback.
	quiet = 300 * time.Millisecond
)

// run runs a command; load, if there is one, runs beside it.
func run(t *testing.T, load func(context.Context), stdin string, args ...string) outcome {
	t.Helper()
	return invocation{args: args, stdin: stdin, load: load}.run(t)
}

func (in invocation) run(t *testing.T) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, errs := &buffer{}, &buffer{}
	cmd := exec.CommandContext(ctx, in.args[0], in.args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Stdin = out, errs, strings.NewReader(in.stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PYTHONUNBUFFERED=1")
	cmd.WaitDelay = 10 * time.Second
	stopLoad := in.startLoad(ctx)
	defer stopLoad()
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: %v", in.args, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err, over := error(nil), false
	if in.until != nil {
		if err, over = await(ended, out, in.until); !over {
			stopLoad()
			time.Sleep(quiet)
			cmd.Process.Signal(syscall.SIGINT)
		}
	}
	if !over {
		err = <-ended
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", in.args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v did not end in %v\n%.2000s\n%.2000s", in.args, limit, out.String(), errs.String())
	}
	status := cmd.ProcessState.ExitCode()
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		status = 128 + int(w.Signal()) // as a shell and bpfctl say it
	}
	return outcome{out.String(), errs.String(), status}
}

// startLoad returns what stops the load.
func (in invocation) startLoad(ctx context.Context) func() {
	if in.load == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.load(ctx)
	}()
	return func() { cancel(); <-done }
}

// await returns when a command has ended, and how, or has printed what is
// wanted, or has had the time to.
func await(ended <-chan error, out *buffer, want []string) (error, bool) {
	for end := time.Now().Add(settle); time.Now().Before(end); {
		select {
		case err := <-ended:
			return err, true
		case <-time.After(50 * time.Millisecond):
		}
		if matches(out.String(), want) == nil {
			break
		}
	}
	return nil, false
}

// buffer is what a running command has printed so far.
type buffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// remote puts bpfctl in front of a command.
func remote(args []string) []string {
	return append([]string{bpfctl, "run", "-t", "shell:", "--"}, args...)
}

// churn opens files and spawns processes until it is told to stop.
func churn(ctx context.Context) {
	for ctx.Err() == nil {
		exec.Command("/bin/true").Run()
		os.ReadFile("/etc/hostname")
		os.ReadFile("/nonexistent")
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// need skips a test if the tool is not on this machine, except in CI, where
// everything was installed.
func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", tool)
		}
		t.Skipf("this machine has no %s; test/install installs it", tool)
	}
}

// matches says which of the expressions do not match anywhere in s.
func matches(s string, exprs []string) error {
	for _, e := range exprs {
		if !regexp.MustCompile("(?m)" + e).MatchString(s) {
			return fmt.Errorf("nothing matches %q", e)
		}
	}
	return nil
}

// numbers hides what differs from run to run.
var numbers = regexp.MustCompile(`0x[0-9a-f]+|[0-9]+`)

func TestMain(m *testing.M) {
	if _, err := os.Stat(bpfctl); err != nil {
		fmt.Fprintln(os.Stderr, "the tests of tools need bin/bpfctl: run make")
		os.Exit(1)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the tests of tools load BPF programs natively: run them as root")
		os.Exit(1)
	}
	os.Setenv("BPFD_ANY_HEADERS", "1") // see headers
	if _, err := os.Stat("/sys/kernel/tracing/events"); err != nil {
		// bpftrace and bcc need it natively as well.
		exec.Command("mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing").Run()
	}
	if _, err := os.Stat("/sys/kernel/debug/tracing"); err != nil {
		exec.Command("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug").Run()
	}
	if exec.Command("mountpoint", "-q", "/sys/fs/bpf").Run() != nil {
		exec.Command("mount", "-t", "bpf", "bpf", "/sys/fs/bpf").Run()
	}
	os.Exit(m.Run())
}

// headers returns a tree of kernel headers in the form that BCC_KERNEL_SOURCE
// wants: Debian splits it in two. They are of another kernel than this
// machine's, which does for programs that look at no kernel structure.
func headers(t *testing.T) string {
	t.Helper()
	arch, _ := filepath.Glob("/usr/src/linux-headers-*-amd64")
	common, _ := filepath.Glob("/usr/src/linux-headers-*-common")
	if len(arch) == 0 || len(common) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no kernel headers are installed")
		}
		t.Skip("this machine has no Debian kernel headers; test/install installs them")
	}
	dir := t.TempDir()
	for _, tree := range []string{common[0], arch[0]} {
		if out, err := exec.Command("cp", "-rsf", tree+"/.", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}
