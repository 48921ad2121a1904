package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Limit is how long a command may run, also against a guest on a busy machine:
// longer means that it hangs.
const Limit = 5 * time.Minute

// Patience is how long Eventually and Retry wait: only a failure takes it.
const Patience = 2 * time.Minute

// lag is how long the outputs of a command that has ended may stay open.
const lag = 10 * time.Second

// Outcome is what a command leaves.
type Outcome struct {
	Stdout, Stderr string
	Status         int // as a shell says it: 128+N for signal N
}

func (o Outcome) String() string {
	return fmt.Sprintf("status %d\n--- stdout\n%.4000s\n--- stderr\n%.4000s", o.Status, o.Stdout, o.Stderr)
}

// Remote returns the command line that runs a tool on a target.
func Remote(target string, tool ...string) []string {
	return append([]string{Bin("bpfctl"), "run", "-t", target, "--"}, tool...)
}

// Run runs a command to its end. One that cannot be started, or does not end
// within Limit, fails the test, which goes on; it may run in any goroutine.
func Run(t testing.TB, args ...string) Outcome {
	t.Helper()
	return RunEnv(t, nil, args...)
}

// RunRemote is Run for a tool on a target.
func RunRemote(t testing.TB, target string, tool ...string) Outcome {
	t.Helper()
	return RunEnv(t, nil, Remote(target, tool...)...)
}

// RunEnv is Run with an addition to the environment.
func RunEnv(t testing.TB, env []string, args ...string) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = lag
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Errorf("%q: %v", args, err)
		return Outcome{Status: -1}
	}
	o := Outcome{out.String(), errs.String(), Status(cmd.ProcessState)}
	if exit := (*exec.ExitError)(nil); ctx.Err() != nil {
		t.Errorf("%q did not end in %v: %v", args, Limit, o)
	} else if err != nil && !errors.As(err, &exit) {
		t.Errorf("%q: %v: %v", args, err, o)
	}
	return o
}

// Status is that of a process as a shell says it: 128+N for signal N.
func Status(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// Must fails the test at once unless the command succeeded.
func Must(t testing.TB, o Outcome) Outcome {
	t.Helper()
	if o.Status != 0 {
		t.Fatal(o)
	}
	return o
}

// Piped starts a command with pipes for its standard input and output. It is
// killed when Limit is over, and with the test.
func Piped(t testing.TB, cmd *exec.Cmd) (in io.WriteCloser, out *os.File) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return in, Output(t, cmd)
}

// Output starts a command with a pipe for its standard output. It is killed
// when Limit is over, and with the test.
func Output(t testing.TB, cmd *exec.Cmd) *os.File {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(Limit, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		limit.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return out.(*os.File) // os/exec makes it by os.Pipe
}

// Buffer is what a running command has printed so far. It is ready for use, by
// several goroutines.
type Buffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Reset forgets what was printed.
func (b *Buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

// Eventually waits until ok. When Patience is over it ends the test with the
// complaint and the state, if one is given: what a command has said.
func Eventually(t testing.TB, complaint string, ok func() bool, state ...fmt.Stringer) {
	t.Helper()
	if within(ok) {
		return
	}
	for _, s := range state {
		complaint += fmt.Sprintf("\n%.4000s", s)
	}
	t.Fatal(complaint)
}

// Retry calls f until it returns nil. When Patience is over it ends the test
// with f's last error.
func Retry(t testing.TB, f func() error) {
	t.Helper()
	var err error
	if !within(func() bool { err = f(); return err == nil }) {
		t.Fatal(err)
	}
}

// within returns whether ok is true before Patience is over. It asks less and
// less often: what is quick is not held up, what is slow not disturbed.
func within(ok func() bool) bool {
	pause := 10 * time.Millisecond
	for end := time.Now().Add(Patience); ; time.Sleep(pause) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		pause = min(pause*5/4, 200*time.Millisecond)
	}
}
