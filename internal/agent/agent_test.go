package agent

import (
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"bpfd/internal/wire"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// host is the other end of a session: it sends frames and counts what comes.
type host struct {
	s    *session
	read sync.WaitGroup

	mu      sync.Mutex // protects following
	replies map[uint32][][]byte
	err     error // a frame that is none
}

// connect starts a session that reads in. end must be called.
func connect(t testing.TB, in io.Reader) *host {
	t.Helper()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	h := &host{s: newSession(in, pipe[1], Options{}), replies: make(map[uint32][][]byte)}
	h.read.Add(1)
	go h.receive(os.NewFile(uintptr(pipe[0]), "replies"))
	return h
}

func (h *host) receive(out *os.File) {
	defer h.read.Done()
	defer out.Close()
	for {
		var head [wire.HeaderSize]byte
		if _, err := io.ReadFull(out, head[:]); err != nil {
			return
		}
		header, err := wire.ParseHeader(head[:])
		body := make([]byte, header.Len)
		if err == nil {
			_, err = io.ReadFull(out, body)
		}
		h.mu.Lock()
		if err != nil {
			h.err = err
		} else if header.Type == wire.TypeReply {
			h.replies[header.ID] = append(h.replies[header.ID], body)
		}
		h.mu.Unlock()
		if err != nil {
			io.Copy(io.Discard, out)
			return
		}
	}
}

// end releases the session, and returns when its last frame is here.
func (h *host) end() {
	h.s.close()
	unix.Close(h.s.out)
	h.read.Wait()
}

// reply returns the reply to a request, if there is one yet.
func (h *host) reply(id uint32) ([]byte, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.replies[id]
	if len(list) == 0 {
		return nil, false
	}
	return list[0], true
}

// count is how many replies to a request there are.
func (h *host) count(id uint32) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.replies[id])
}

// frames is what a host sends.
func frames(list ...frame) (b []byte) {
	for _, f := range list {
		b = wire.AppendFrame(b, f.t, f.id, f.m)
	}
	return b
}

type frame struct {
	t  wire.Type
	id uint32
	m  wire.Message
}

// patience is what nothing here takes that does not hang.
const patience = 30 * time.Second

// watch ends the process, with what its goroutines do, if stop is not called.
func watch(t testing.TB) (stop func()) {
	timer := time.AfterFunc(patience, func() { panic(t.Name() + ": the session does not end") })
	return func() { timer.Stop() }
}

// decode decodes a reply.
func (h *host) decode(t *testing.T, id uint32, m wire.Body) {
	t.Helper()
	b, ok := h.reply(id)
	if !ok {
		t.Fatalf("no reply to request %d", id)
	}
	if err := m.Decode(b); err != nil {
		t.Fatal(err)
	}
}

// mapOf makes a map, or skips the test where none can be made.
func mapOf(t testing.TB, spec ebpf.MapSpec) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&spec)
	if err != nil {
		t.Skipf("this needs a kernel and a user that may make maps: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// give has a session own a copy of a descriptor.
func give(t testing.TB, s *session, h wire.Handle, fd int) {
	t.Helper()
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.fds.put(h, own)
}
