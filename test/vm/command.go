package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"
	"bpfd/test/vm/guest"
)

// Cmd is a command that runs inside of a guest.
type Cmd struct {
	Args           []string
	Env            []string // in addition to the guest's
	Stdout, Stderr io.Writer
	conn           *guest.Conn
	done           chan struct{}
	status         int
	err            error
}

// dial connects to what runs commands in the guest.
func (v *VM) dial() (*guest.Conn, error) { return dial(v.Port(guest.CommandPort)) }

func dial(port int) (*guest.Conn, error) {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(slow))
	banner := make([]byte, len(guest.Banner))
	if _, err := io.ReadFull(c, banner); err != nil {
		c.Close()
		return nil, err
	}
	c.SetReadDeadline(time.Time{})
	return guest.NewConn(c), nil
}

// Start starts a command in the guest.
func (v *VM) Start(c *Cmd) error { return c.StartAt(v.Port(guest.CommandPort)) }

// StartAt starts the command in the guest whose command port a port of the host
// leads to.
func (c *Cmd) StartAt(port int) error {
	conn, err := dial(port)
	if err != nil {
		return err
	}
	if err := conn.Send(guest.Request{Args: c.Args, Env: c.Env}); err != nil {
		conn.Close()
		return err
	}
	c.conn, c.done = conn, make(chan struct{})
	go func() {
		defer close(c.done)
		c.status, c.err = c.receive()
		conn.Close()
	}()
	return nil
}

// receive returns when the command has ended.
func (c *Cmd) receive() (int, error) {
	for {
		var out guest.Output
		if err := c.conn.Receive(&out); err != nil {
			return 0, fmt.Errorf("the guest has gone: %w", err)
		}
		for _, o := range []struct {
			w io.Writer
			b []byte
		}{{c.Stdout, out.Stdout}, {c.Stderr, out.Stderr}} {
			if o.w != nil && len(o.b) > 0 {
				if _, err := o.w.Write(o.b); err != nil {
					return 0, err
				}
			}
		}
		if out.Err != "" {
			return out.Status, errors.New(out.Err)
		}
		if out.Exited {
			return out.Status, nil
		}
	}
}

// Signal sends a signal to the command's process group.
func (c *Cmd) Signal(s syscall.Signal) error { return c.conn.Send(guest.Input{Signal: s}) }

// CloseStdin ends the command's standard input.
func (c *Cmd) CloseStdin() error { return c.conn.Send(guest.Input{EOF: true}) }

// Done is closed when the command has ended.
func (c *Cmd) Done() <-chan struct{} { return c.done }

// Wait waits until the command has ended, and returns its status.
func (c *Cmd) Wait() (int, error) {
	<-c.done
	return c.status, c.err
}

// Kill ends the command and all that it started.
func (c *Cmd) Kill() {
	c.conn.Close()
	<-c.done
}

// Run runs a shell script in the guest until ctx ends.
func (v *VM) Run(ctx context.Context, script string) (testenv.Outcome, error) {
	var out, errs bytes.Buffer
	c := &Cmd{Args: []string{"/bin/sh", "-c", script}, Stdout: &out, Stderr: &errs}
	if err := v.Start(c); err != nil {
		return testenv.Outcome{}, err
	}
	if err := c.CloseStdin(); err != nil {
		return testenv.Outcome{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	status, err := c.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return testenv.Outcome{Stdout: out.String(), Stderr: errs.String(), Status: status}, err
}

// Sh runs a shell script in the guest, which must succeed, and returns what it
// prints.
func (v *VM) Sh(t testing.TB, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Limit)
	defer cancel()
	o, err := v.Run(ctx, script)
	if err != nil || o.Status != 0 {
		t.Fatalf("%s: %v: %v", script, err, o)
	}
	return o.Stdout
}
