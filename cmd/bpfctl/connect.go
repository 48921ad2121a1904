package main

import (
	"errors"
	"os"
	"time"

	"bpfd/internal/rpc"
	"bpfd/internal/sys"
	"bpfd/internal/transport"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// connection is a connection to a target and the process that carries it.
type connection struct {
	client *rpc.Client
	conn   *transport.Conn
	target string
}

// connect connects to the target of a command.
func connect(cmd *cobra.Command) (*connection, error) {
	name, t, err := parseTarget(cmd)
	if err != nil {
		return nil, err
	}
	conn, err := transport.Dial(t, transport.Options{Progress: sending(name)})
	if err != nil {
		return nil, errTarget(name, err)
	}
	c := &connection{conn: conn, target: name}
	answered := waiting(name)
	c.client, err = rpc.NewClient(conn.R, conn.W, "bpfctl "+version)
	answered()
	if err != nil {
		sys.CloseWrite(conn.W)
		conn.Kill()
		conn.Wait()
		conn.R.Close()
		if errors.Is(err, rpc.ErrSilent) && (t.Scheme == "unix" || t.Scheme == "vsock") {
			err = errListener(err)
		}
		return nil, c.explain(err)
	}
	return c, nil
}

// waiting tells a user who looks on that a target says nothing: it may yet do so,
// as a virtual machine that is booting, and it may be something else that listens
// there. The returned function is called when it has answered.
func waiting(target string) (answered func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() {}
	}
	t := time.AfterFunc(silence, func() { warnSilent(target) })
	return func() { t.Stop() }
}

const (
	// silence is how long a target may take to answer before that is said.
	silence = 3 * time.Second
	// closeTimeout is how long a target may take to clean up after the last word.
	closeTimeout = 5 * time.Second
	// killTimeout is how long the transport may take to end when it is killed.
	killTimeout = time.Second
)

// Close ends the session and waits until the target has cleaned up.
func (c *connection) Close() {
	kill := time.AfterFunc(closeTimeout, c.conn.Kill)
	defer kill.Stop()
	abort := time.AfterFunc(closeTimeout+killTimeout, c.client.Abort)
	defer abort.Stop()
	c.client.Close()
	c.conn.Wait()
}

// explain adds what the target's side said on its standard error.
func (c *connection) explain(err error) error {
	if errors.Is(err, rpc.ErrClosed) || c.client == nil {
		c.conn.Kill()
		c.conn.Wait()
		if said := c.conn.Said(); said != "" {
			err = errSaid(err, said)
		}
		return errTarget(c.target, err)
	}
	return err
}
