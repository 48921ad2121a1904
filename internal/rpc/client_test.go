package rpc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// peer is the target's end of a connection, in the hands of a test.
type peer struct {
	in  *bufio.Reader
	r   *os.File
	out *os.File
}

func pipes(t *testing.T) (clientR, clientW *os.File, p *peer) {
	t.Helper()
	var up, down [2]int
	if unix.Pipe2(up[:], unix.O_CLOEXEC) != nil || unix.Pipe2(down[:], unix.O_CLOEXEC) != nil {
		t.Fatal("no pipes")
	}
	file := func(fd int) *os.File { return os.NewFile(uintptr(fd), "pipe") }
	p = &peer{r: file(up[0]), out: file(down[1])}
	p.in = bufio.NewReader(p.r)
	return file(down[0]), file(up[1]), p
}

// welcome is what a target of this version says first.
func welcome(version uint16) []byte {
	return wire.AppendFrame([]byte(wire.Magic), wire.TypeWelcome, 0, &wire.Welcome{Version: version, Software: "test"})
}

// dial connects a client with a peer that has said hello.
func dial(t *testing.T) (*Client, *peer) {
	t.Helper()
	r, w, p := pipes(t)
	p.out.Write(welcome(wire.Version))
	c, err := NewClient(r, w, "test")
	if err != nil {
		t.Fatal(err)
	}
	p.in.Discard(len(wire.Magic))
	if h, _ := p.frame(t); h.Type != wire.TypeHello {
		t.Fatalf("the client begins with a frame of type %d", h.Type)
	}
	return c, p
}

func (p *peer) frame(t *testing.T) (wire.Header, []byte) {
	t.Helper()
	var hb [wire.HeaderSize]byte
	if _, err := io.ReadFull(p.in, hb[:]); err != nil {
		return wire.Header{}, nil
	}
	h, err := wire.ParseHeader(hb[:])
	if err != nil {
		t.Error(err)
	}
	body := make([]byte, h.Len)
	io.ReadFull(p.in, body)
	return h, body
}

func (p *peer) send(t wire.Type, id uint32, m wire.Message) {
	p.out.Write(wire.AppendFrame(nil, t, id, m))
}

// echo answers reads with their offset, count at a time and in reverse order,
// until the client has closed its side.
func (p *peer) echo(t *testing.T, count int) {
	defer p.out.Close()
	for {
		var batch []byte
		for range count {
			h, body := p.frame(t)
			if h.Type == 0 {
				return
			}
			var req wire.Read
			if err := req.Decode(body); err != nil {
				t.Error(err)
			}
			reply := &wire.BytesReply{Bytes: fmt.Append(nil, req.Off)}
			batch = append(wire.AppendFrame(nil, wire.TypeReply, h.ID, reply), batch...)
		}
		p.out.Write(batch)
	}
}

// Every request gets its own reply, whoever reads the connection.
func TestLeaders(t *testing.T) {
	c, p := dial(t)
	const callers, rounds = 4, 500
	go p.echo(t, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range rounds {
				want := fmt.Sprint(i*rounds + n)
				var reply wire.BytesReply
				if err := c.Do(wire.TypeRead, &wire.Read{Off: int64(i*rounds + n)}, &reply); err != nil || string(reply.Bytes) != want {
					t.Errorf("got %q, %v for %s", reply.Bytes, err, want)
					return
				}
				if n%50 == 0 {
					time.Sleep(2 * linger) // let the background reader take over
				}
			}
		}()
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// lines is a stream that remembers what it got.
type lines struct {
	mu  sync.Mutex
	got []byte
	end chan unix.Errno
}

func (l *lines) Data(d wire.Data) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Position != uint64(len(l.got)) {
		l.end <- unix.EIO
	}
	l.got = append(l.got, d.Bytes...)
}

func (l *lines) End(e unix.Errno) { l.end <- e }

// A stream's data arrives in order while no request reads the connection.
func TestStream(t *testing.T) {
	c, p := dial(t)
	l := &lines{end: make(chan unix.Errno, 1)}
	go func() {
		h, _ := p.frame(t)
		p.send(wire.TypeReply, h.ID, &wire.Status{})
		for i := range 1000 {
			p.send(wire.TypeData, 1, &wire.Data{Position: uint64(4 * i), Bytes: fmt.Appendf(nil, "%04d", i)})
		}
		p.send(wire.TypeEnd, 1, &wire.Status{Errno: uint32(unix.ENODEV)})
		p.send(wire.TypeData, 1, &wire.Data{Bytes: []byte("late")}) // is dropped
	}()
	if _, err := c.OpenStream(wire.Stream{}, l); err != nil {
		t.Fatal(err)
	}
	if e := <-l.end; e != unix.ENODEV || len(l.got) != 4000 {
		t.Errorf("the stream ended with %v after %d bytes", e, len(l.got))
	}
	p.out.Close()
	c.Close()
}

// A request that waits is cancelled, and answered then.
func TestCancel(t *testing.T) {
	c, p := dial(t)
	waits := make(chan struct{})
	go func() {
		read, _ := p.frame(t)
		close(waits)
		cancel, _ := p.frame(t)
		if cancel.Type != wire.TypeCancel || cancel.ID != read.ID {
			t.Errorf("instead of a cancel came type %d for %d", cancel.Type, cancel.ID)
		}
		p.send(wire.TypeReply, read.ID, &wire.BytesReply{Errno: uint32(unix.EINTR)})
	}()
	cancel := make(chan struct{})
	go func() { <-waits; close(cancel) }()
	var reply wire.BytesReply
	if err := c.DoCancel(cancel, wire.TypeRead, &wire.Read{}, &reply); err != nil || reply.Errno != uint32(unix.EINTR) {
		t.Errorf("got %v, %v", reply, err)
	}
	p.out.Close()
	c.Close()
}

// Whatever a target does wrong ends all requests with a reason.
func TestBadTarget(t *testing.T) {
	frame := func(typ wire.Type, m wire.Message) []byte { return wire.AppendFrame(nil, typ, 1, m) }
	huge := frame(wire.TypeReply, wire.Empty{})
	huge[3] = 0x7f
	for name, says := range map[string][]byte{
		"nothing more":       nil,
		"half a header":      huge[:5],
		"half a body":        frame(wire.TypeReply, &wire.BytesReply{Bytes: make([]byte, 100)})[:50],
		"oversized frame":    huge,
		"request":            frame(wire.TypeRead, &wire.Read{}),
		"unknown type":       frame(200, wire.Empty{}),
		"bad data":           frame(wire.TypeData, wire.Empty{}),
		"bad end of stream":  frame(wire.TypeEnd, wire.Empty{}),
		"reply out of place": frame(wire.TypeReply, wire.Empty{})[:wire.HeaderSize-1],
	} {
		t.Run(name, func(t *testing.T) {
			c, p := dial(t)
			go func() {
				p.frame(t)
				p.frame(t)
				p.out.Write(says)
				p.out.Close()
			}()
			errs := make(chan error)
			for range 2 {
				go func() {
					errs <- c.Do(wire.TypeStat, &wire.Path{}, &wire.StatReply{})
				}()
			}
			for range 2 {
				if err := <-errs; err == nil {
					t.Error("a request succeeded")
				}
			}
			<-c.Dead()
			if err := c.Do(wire.TypeStat, &wire.Path{}, &wire.StatReply{}); !errors.Is(err, ErrClosed) {
				t.Errorf("a later request fails with %v", err)
			}
			c.Close()
		})
	}
}

// A target that does not answer is given up.
func TestAbort(t *testing.T) {
	c, p := dial(t)
	waits := make(chan struct{})
	go func() { p.frame(t); close(waits) }()
	result := make(chan error)
	cancel := make(chan struct{})
	go func() { result <- c.DoCancel(cancel, wire.TypeRead, &wire.Read{}, &wire.BytesReply{}) }()
	<-waits
	c.Abort()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("the request ends with %v", err)
	}
	c.Close() // although the target keeps its side open
}

func TestGreeting(t *testing.T) {
	for _, c := range []struct{ name, says, message string }{
		{"banner", "Welcome to board\r\n" + string(welcome(wire.Version)), ""},
		{"other version", string(welcome(9)), "speaks version 9"},
		{"end", "", "without a word"},
		{"text", "bpfd: not found\n", `"bpfd: not found"`},
		{"endless text", strings.Repeat("noise ", maxBanner), "does not speak bpfd's protocol"},
		{"no welcome", wire.Magic + string(wire.AppendFrame(nil, wire.TypeReply, 0, wire.Empty{})), "frame of type 3"},
		{"bad welcome", wire.Magic + string(wire.AppendFrame(nil, wire.TypeWelcome, 0, wire.Empty{})), "the target's welcome"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, p := pipes(t)
			go func() {
				p.out.WriteString(c.says)
				p.out.Close()
				io.Copy(io.Discard, p.r)
			}()
			client, err := NewClient(r, w, "test")
			switch {
			case err == nil:
				client.Close()
				if c.message != "" {
					t.Error("no error")
				}
			case c.message == "" || !strings.Contains(err.Error(), c.message):
				t.Error(err)
			}
			r.Close()
			w.Close()
		})
	}
}
