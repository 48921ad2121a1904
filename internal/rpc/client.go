// Package rpc is the host's end of a connection to a bpfd: pending requests,
// streams, shutdown.
//
// A request that waits for its reply reads the connection itself, on its own
// thread, if nobody else does; replies to others and stream data that it meets
// it hands on. So a system call of the tool costs two thread switches, into
// the daemon and back. A background reader takes over when no request waits.
package rpc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// ErrClosed is wrapped by the error of every request on a dead connection.
var ErrClosed = errors.New("the connection to the target is gone")

// linger is how long after the last request the background reader comes back.
const linger = time.Millisecond

// began is when this process did. Times are taken from it by the monotonic
// clock: the other may be set.
var began = time.Now()

func uptime() int64 { return int64(time.Since(began)) }

// Stream receives what the target sends on a stream. Its methods are called in
// order by whoever reads the connection: they may not block, nor make requests.
type Stream interface {
	Data(d wire.Data)
	End(errno unix.Errno)
}

type call struct {
	done  chan struct{} // closed when body or err is set
	ready atomic.Bool
	body  []byte
	err   error
}

// Client is a connection to a bpfd. Its methods may be called from any goroutine.
type Client struct {
	Welcome wire.Welcome

	in   *reader
	out  *os.File
	wmu  sync.Mutex // held while writing a frame
	wbuf []byte     // guarded by wmu

	token    chan struct{} // whoever could send into it reads the connection
	released atomic.Int64  // when a request last gave the token back, by uptime
	kick     int           // eventfd that ends the background reader's poll
	polling  atomic.Bool   // the background reader is in poll
	stopped  chan struct{} // closed when the background reader has ended

	mu      sync.Mutex // protects following
	err     error      // why the connection is dead
	nextID  uint32
	calls   map[uint32]*call
	streams map[uint32]Stream

	handles  atomic.Uint32
	streamID atomic.Uint32
	dead     chan struct{} // closed with err set
}

// NewClient shakes hands over r and w, which are read and written with
// blocking system calls and closed by Close.
func NewClient(r, w *os.File, software string) (*Client, error) {
	kick, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	c := &Client{
		in: newReader(r), out: w, kick: kick,
		token:   make(chan struct{}, 1),
		stopped: make(chan struct{}),
		dead:    make(chan struct{}),
		calls:   make(map[uint32]*call),
		streams: make(map[uint32]Stream),
	}
	if err := c.greet(software); err != nil {
		unix.Close(kick)
		return nil, err
	}
	go c.background()
	go sys.Heartbeat(c.dead)
	return c, nil
}

// greet sends the hello and waits for the welcome.
func (c *Client) greet(software string) error {
	hello := wire.Hello{Version: wire.Version, Software: software}
	b := wire.AppendFrame([]byte(wire.Magic), wire.TypeHello, 0, &hello)
	// Who takes no input may still have said why.
	sent := sys.WriteFull(int(c.out.Fd()), b)
	if err := c.in.skipToMagic(); err != nil {
		return err
	}
	if sent != nil {
		return fmt.Errorf("the target does not take input: %w", sent)
	}
	h, body, err := c.in.frame()
	if err != nil {
		return err
	}
	if h.Type != wire.TypeWelcome {
		return fmt.Errorf("the target answered the hello with a frame of type %d", h.Type)
	}
	if len(body) >= 2 {
		if v := uint16(body[0]) | uint16(body[1])<<8; v != wire.Version {
			return fmt.Errorf("the bpfd on the target speaks version %d of the protocol, this bpfctl speaks %d: update the older one", v, wire.Version)
		}
	}
	if err := c.Welcome.Decode(append([]byte(nil), body...)); err != nil {
		return fmt.Errorf("the target's welcome: %w", err)
	}
	return nil
}

// NewHandle returns a name for a descriptor on the target that was not used yet.
func (c *Client) NewHandle() wire.Handle { return wire.Handle(c.handles.Add(1)) }

// Dead is closed when the connection is gone; Err then says why.
func (c *Client) Dead() <-chan struct{} { return c.dead }

// Err says why the connection is dead, nil if it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Post sends a request that is not answered.
func (c *Client) Post(t wire.Type, m wire.Message) error { return c.send(t, 0, m) }

// Do sends a request and decodes its reply. It fails only if the connection
// does; what the target says of the request is in the reply.
func (c *Client) Do(t wire.Type, req wire.Message, reply wire.Body) error {
	return c.DoCancel(nil, t, req, reply)
}

// DoCancel is Do for requests which may wait on the target. When cancel is
// closed the target is told to give up; the reply still comes, with EINTR.
func (c *Client) DoCancel(cancel <-chan struct{}, t wire.Type, req wire.Message, reply wire.Body) error {
	id, p, err := c.register()
	if err != nil {
		return err
	}
	if cancel == nil && c.polling.CompareAndSwap(true, false) {
		c.wake()
	}
	if err := c.send(t, id, req); err != nil {
		c.fail(err)
	}
	if cancel != nil {
		c.follow(p, cancel, id)
	}
	for !p.ready.Load() {
		select {
		case c.token <- struct{}{}:
			c.lead(p)
		case <-p.done:
		}
	}
	if p.err != nil {
		return p.err
	}
	return reply.Decode(p.body)
}

// follow waits for p and cancels it. It leaves reading to others: read(2) would
// not notice cancel.
func (c *Client) follow(p *call, cancel <-chan struct{}, id uint32) {
	select {
	case <-p.done:
		return
	case <-cancel:
	}
	c.send(wire.TypeCancel, id, wire.Empty{})
	<-p.done
}

// lead reads the connection until p is answered; the caller holds the token.
func (c *Client) lead(p *call) {
	for !p.ready.Load() {
		h, body, err := c.in.frame()
		if err != nil {
			c.fail(err)
			break
		}
		c.dispatch(h, body)
	}
	c.released.Store(uptime())
	<-c.token
}

func (c *Client) register() (uint32, *call, error) {
	p := &call{done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	for c.nextID++; c.nextID == 0 || c.calls[c.nextID] != nil; c.nextID++ {
	}
	c.calls[c.nextID] = p
	return c.nextID, p, nil
}

func (c *Client) send(t wire.Type, id uint32, m wire.Message) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.wbuf = wire.AppendFrame(c.wbuf[:0], t, id, m)
	err := sys.WriteFull(int(c.out.Fd()), c.wbuf)
	if cap(c.wbuf) > 1<<20 {
		c.wbuf = nil
	}
	return err
}

// OpenStream tells the target to open a stream, which s receives.
func (c *Client) OpenStream(req wire.Stream, s Stream) (uint32, error) {
	req.ID = c.streamID.Add(1)
	c.mu.Lock()
	c.streams[req.ID] = s
	c.mu.Unlock()
	var st wire.Status
	err := c.Do(wire.TypeStream, &req, &st)
	if err == nil && st.Errno != 0 {
		err = unix.Errno(st.Errno)
	}
	if err != nil {
		c.forget(req.ID)
	}
	return req.ID, err
}

// Credit lets a stream send until it has sent total bytes.
func (c *Client) Credit(stream uint32, total uint64) error {
	return c.send(wire.TypeCredit, stream, &wire.Credit{Total: total})
}

func (c *Client) forget(stream uint32) Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[stream]
	delete(c.streams, stream)
	return s
}

// dispatch hands a frame to whom it is for. Replies and data for somebody who
// is gone are dropped: a stream may end while its data is on the way.
func (c *Client) dispatch(h wire.Header, body []byte) {
	switch h.Type {
	case wire.TypeReply:
		c.mu.Lock()
		p := c.calls[h.ID]
		delete(c.calls, h.ID)
		c.mu.Unlock()
		if p != nil {
			p.body = c.in.keep(body)
			p.ready.Store(true)
			close(p.done)
		}
	case wire.TypeData:
		c.mu.Lock()
		s := c.streams[h.ID]
		c.mu.Unlock()
		var d wire.Data
		if err := d.Decode(body); err != nil {
			c.fail(err)
		} else if s != nil {
			s.Data(d)
		}
	case wire.TypeEnd:
		var st wire.Status
		if err := st.Decode(body); err != nil {
			c.fail(err)
		} else if s := c.forget(h.ID); s != nil {
			s.End(unix.Errno(st.Errno))
		}
	case wire.TypeAck:
	default:
		c.fail(fmt.Errorf("unexpected frame of type %d from the target", h.Type))
	}
}

// fail ends every request with err, once. Streams are not told: whoever has
// one watches Dead.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = fmt.Errorf("%w: %v", ErrClosed, err)
	for _, p := range c.calls {
		p.err = c.err
		p.ready.Store(true)
		close(p.done)
	}
	clear(c.calls)
	close(c.dead)
}

func (c *Client) wake() {
	one := [8]byte{1}
	unix.Write(c.kick, one[:])
}

// background reads the connection while no request does.
func (c *Client) background() {
	defer close(c.stopped)
	for c.Err() == nil {
		if uptime()-c.released.Load() < int64(linger) || !c.tryToken() {
			time.Sleep(linger)
			continue
		}
		c.idle()
		<-c.token
	}
}

func (c *Client) tryToken() bool {
	select {
	case c.token <- struct{}{}:
		return true
	default:
		return false
	}
}

// idle reads frames until a request wants to read, holding the token.
func (c *Client) idle() {
	c.polling.Store(true)
	defer c.polling.Store(false)
	for c.Err() == nil {
		if !c.in.buffered() {
			fds := []unix.PollFd{{Fd: int32(c.in.fd), Events: unix.POLLIN}, {Fd: int32(c.kick), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err == unix.EINTR {
				continue
			}
			if fds[1].Revents != 0 {
				var b [8]byte
				unix.Read(c.kick, b[:])
				c.released.Store(uptime())
				return
			}
		}
		h, body, err := c.in.frame()
		if err != nil {
			c.fail(err)
			return
		}
		c.dispatch(h, body)
	}
}

// Abort gives the connection up: every request fails, also those that a target
// does not answer any more.
func (c *Client) Abort() {
	c.fail(errors.New("the target does not answer"))
	c.wake()
}

// Close ends the connection: the target sees the end of its input and cleans
// up. It waits until the target has closed its side, or until Abort.
func (c *Client) Close() error {
	sys.CloseWrite(c.out)
	c.wake()
	<-c.dead
	c.wake()
	<-c.stopped
	unix.Close(c.kick)
	return c.in.file.Close()
}
