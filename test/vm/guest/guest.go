// Package guest is how a test runs commands inside of a virtual machine: what
// goes over the connection, and both of its ends.
package guest

import (
	"encoding/gob"
	"net"
	"sync"
	"syscall"
)

// Banner is what the guest's end says first. QEMU accepts connections before
// anything in the guest listens.
const Banner = "guest\n"

// The guest's TCP ports.
const (
	CommandPort = 7001 // runs commands
	DaemonPort  = 7002 // each connection is a bpfd
	NativePort  = 7003 // each connection is a bpfd that sees vm.NativeRoot as its root
	SSHPort     = 22
	ADBPort     = 5555
)

// DaemonSerial is the name of the virtio serial port that is a bpfd.
const DaemonSerial = "bpfd"

// Request asks to run a command.
type Request struct {
	Args []string
	Env  []string // in addition to the guest's
}

// Input goes to a running command.
type Input struct {
	Stdin  []byte
	EOF    bool
	Signal syscall.Signal // if not 0
}

// Output comes from a running command; the last one has Exited set.
type Output struct {
	Stdout, Stderr []byte
	Exited         bool
	Status         int    // as a shell says it: 128+N for signal N
	Err            string // why it could not be run
}

// Conn encodes and decodes messages.
type Conn struct {
	net.Conn
	dec *gob.Decoder
	mu  sync.Mutex // held while encoding
	enc *gob.Encoder
}

// NewConn returns the messages of a connection whose banner has been read.
func NewConn(c net.Conn) *Conn {
	return &Conn{Conn: c, dec: gob.NewDecoder(c), enc: gob.NewEncoder(c)}
}

// Send sends a message.
func (c *Conn) Send(v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enc.Encode(v)
}

// Receive waits for a message.
func (c *Conn) Receive(v any) error { return c.dec.Decode(v) }

// writer sends what is written to it.
type writer struct {
	c    *Conn
	wrap func([]byte) any
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.c.Send(w.wrap(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
