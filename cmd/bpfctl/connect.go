package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"bpfd/internal/rpc"
	"bpfd/internal/sys"
	"bpfd/internal/transport"

	"github.com/spf13/cobra"
)

// connection is a connection to a target and the process that carries it.
type connection struct {
	client *rpc.Client
	conn   *transport.Conn
	target string
	stderr *tail
}

// targetOf returns the target that the command line or the environment names.
func targetOf(cmd *cobra.Command) (string, error) {
	t, err := cmd.Flags().GetString("target")
	if err != nil {
		return "", err
	}
	if t == "" {
		t = os.Getenv("BPFD_TARGET")
	}
	if t == "" {
		return "", errNoTarget()
	}
	return t, nil
}

// connect connects to the target of a command.
func connect(cmd *cobra.Command) (*connection, error) {
	name, err := targetOf(cmd)
	if err != nil {
		return nil, err
	}
	t, err := transport.Parse(name)
	if err != nil {
		return nil, err
	}
	stderr := &tail{}
	conn, err := transport.Dial(t, transport.Options{Stderr: stderr})
	if err != nil {
		return nil, errTarget(name, err)
	}
	c := &connection{conn: conn, target: name, stderr: stderr}
	if c.client, err = rpc.NewClient(conn.R, conn.W, "bpfctl "+version); err != nil {
		sys.CloseWrite(conn.W)
		conn.Kill()
		conn.Wait()
		conn.R.Close()
		return nil, c.explain(err)
	}
	return c, nil
}

// closeTimeout is how long a target may take to clean up after the last word.
const closeTimeout = 5 * time.Second

// Close ends the session and waits until the target has cleaned up.
func (c *connection) Close() {
	timer := time.AfterFunc(closeTimeout, c.conn.Kill)
	defer timer.Stop()
	c.client.Close()
	c.conn.Wait()
}

// explain adds what the target's side said on its standard error.
func (c *connection) explain(err error) error {
	if errors.Is(err, rpc.ErrClosed) || c.client == nil {
		c.conn.Kill()
		c.conn.Wait()
		if said := c.stderr.last(); said != "" {
			err = errSaid(err, said)
		}
		return errTarget(c.target, err)
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // protects following
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = bytes.Clone(t.b[len(t.b)-tailSize:])
	}
	return len(p), nil
}

// last returns the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(string(t.b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}
