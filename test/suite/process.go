package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"bpfd/test/testenv"
)

const (
	// limit is how long a tool may take.
	limit = 5 * time.Minute
	// settle is how long an interrupted tool may take to print what is wanted.
	settle = 2 * time.Minute
	// handler is how long a tool that has printed its heading may take until it
	// catches SIGINT.
	handler = time.Second
	// again is when a tool that did not end is interrupted again: one in Python
	// goes on if that happened inside of a callback.
	again = 3 * time.Second
)

// command is what is to be started.
type command struct {
	ctx   context.Context
	args  []string
	stdin string
	// settle is how long it may take to print what is wanted; 0 for settle.
	settle time.Duration
}

// process is a command that was started.
type process struct {
	cmd       *exec.Cmd
	out, errs testenv.Buffer
	ended     chan struct{}
	err       error  // of Wait; valid when ended is closed
	said      string // its first line, if startProcess waited for it
}

func (c command) start() (*process, error) {
	p := &process{cmd: exec.CommandContext(c.ctx, c.args[0], c.args[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Stdin = &p.out, &p.errs, strings.NewReader(c.stdin)
	p.cmd.WaitDelay = 10 * time.Second
	// A group of its own, to which Ctrl-C goes as a terminal sends it: some
	// tools are scripts around others, and their shell waits for those.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return p.signal(syscall.SIGKILL) }
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.ended)
}

// startProcess starts a command, and returns when it has printed what matches.
func startProcess(c command, ready string) (*process, error) {
	p, err := c.start()
	if err != nil {
		return nil, err
	}
	if !p.await([]string{ready}, cmp.Or(c.settle, settle)) {
		p.stop()
		return nil, fmt.Errorf("%q printed no %q: %s%s", c.args, ready, p.out.String(), p.errs.String())
	}
	p.said, _, _ = strings.Cut(p.out.String(), "\n")
	return p, nil
}

// signal sends a signal to a process and what it has started.
func (p *process) signal(s syscall.Signal) error { return syscall.Kill(-p.cmd.Process.Pid, s) }

// stop ends a process.
func (p *process) stop() {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		p.signal(s)
		select {
		case <-p.ended:
			return
		case <-time.After(2 * again):
		}
	}
	<-p.ended
}

// run runs a command. With until, it is interrupted when each expression has
// matched, or has had the time to.
func (c command) run(until []string) (testenv.Outcome, error) {
	p, err := c.start()
	if err != nil {
		return testenv.Outcome{}, err
	}
	if until != nil {
		p.await(until, cmp.Or(c.settle, settle))
		time.Sleep(handler)
		p.interrupt()
	}
	<-p.ended
	if exit := (*exec.ExitError)(nil); p.err != nil && !errors.As(p.err, &exit) {
		return testenv.Outcome{}, fmt.Errorf("%q: %w\n%.2000s\n%.2000s", c.args, p.err, p.out.String(), p.errs.String())
	}
	if c.ctx.Err() != nil {
		return testenv.Outcome{}, fmt.Errorf("%q did not end in time\n%.2000s\n%.2000s", c.args, p.out.String(), p.errs.String())
	}
	return testenv.Outcome{Stdout: p.out.String(), Stderr: p.errs.String(), Status: testenv.Status(p.cmd.ProcessState)}, nil
}

// interrupt sends SIGINT until the process has ended, or its time is over.
func (p *process) interrupt() {
	for {
		select {
		case <-p.ended:
			return
		default:
		}
		p.signal(syscall.SIGINT)
		select {
		case <-p.ended:
			return
		case <-time.After(again):
		}
	}
}

// await returns whether a process has printed what is wanted, before it ended
// and in time.
func (p *process) await(want []string, settle time.Duration) bool {
	for end := time.Now().Add(settle); time.Now().Before(end); {
		if unmatched(p.out.String(), want) == "" {
			return true
		}
		select {
		case <-p.ended:
			return unmatched(p.out.String(), want) == ""
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// unmatched returns the first of the expressions that matches no line, or "".
func unmatched(s string, exprs []string) string {
	for _, e := range exprs {
		if !regexp.MustCompile("(?m)" + e).MatchString(s) {
			return e
		}
	}
	return ""
}
