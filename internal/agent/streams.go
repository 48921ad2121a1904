package agent

import (
	"errors"
	"sync"
	"time"

	"bpfd/internal/ring"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

const (
	// chunk is how many bytes of records go into one frame, so that replies
	// to requests find their way between them.
	chunk = 64 << 10
	// tick is how often rings are looked at that do not wake us: a perf ring
	// below its watermark, a program with BPF_RB_NO_WAKEUP.
	tick = 10 * time.Millisecond
	// rest is how long the pump lets records gather after it emptied the
	// rings: waking us for each one costs the traced process more than the
	// record itself.
	rest = time.Millisecond
)

// stream is a ring, or a descriptor that is waited for.
type stream struct {
	id     uint32
	fd     int
	handle wire.Handle
	ring   ring.Reader // nil for StreamPoll
	sent   uint64      // the pump writes it, with the table's mu held
	credit uint64      // guarded by the table's mu
}

// streamTable owns the streams of a session and the goroutine that pumps them.
type streamTable struct {
	s      *session
	mu     sync.Mutex // protects following, and the memory of rings
	all    map[uint32]*stream
	epoll  int
	wake   int // eventfd: look again
	quit   bool
	synced *sync.Cond // the pump has finished a round
	round  uint64
	active bool // the pump runs
}

func newStreamTable(s *session) *streamTable {
	t := &streamTable{s: s, all: make(map[uint32]*stream)}
	t.synced = sync.NewCond(&t.mu)
	return t
}

// open starts a stream.
func (t *streamTable) open(req *wire.Stream) *wire.Status {
	if req.Size > 1<<30 {
		return status(unix.EINVAL)
	}
	fd, ok := t.s.fds.get(req.Handle)
	if !ok {
		return status(unix.EBADF)
	}
	st := &stream{id: req.ID, fd: fd, handle: req.Handle, credit: req.Credit}
	if req.Kind != wire.StreamPoll {
		var err error
		if st.ring, err = t.openRing(req); err != nil {
			return status(err)
		}
	}
	if err := t.add(st); err != nil {
		if st.ring != nil {
			st.ring.Close()
		}
		return status(err)
	}
	return &wire.Status{}
}

// openRing maps a stream's ring.
func (t *streamTable) openRing(req *wire.Stream) (ring.Reader, error) {
	fd, err := t.s.fds.mappable(req.Handle)
	if err != nil {
		return nil, err
	}
	if req.Kind == wire.StreamPerf {
		return asReader(ring.OpenPerf(fd, int(req.Size)))
	}
	return asReader(ring.OpenRingbuf(fd, int(req.Size)))
}

func asReader[R ring.Reader](r R, err error) (ring.Reader, error) { return r, err }

func (t *streamTable) add(st *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quit {
		return unix.ESHUTDOWN
	}
	if t.all[st.id] != nil {
		return unix.EEXIST
	}
	if !t.active {
		if err := t.start(); err != nil {
			return err
		}
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(st.id)}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, st.fd, &ev); err != nil && err != unix.EEXIST {
		return err
	}
	t.all[st.id] = st
	t.poke()
	return nil
}

// start makes the epoll instance and the pump; mu is held.
func (t *streamTable) start() (err error) {
	if t.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(t.epoll)
		return err
	}
	if err = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, t.wake, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		unix.Close(t.epoll)
		unix.Close(t.wake)
		return err
	}
	t.active = true
	t.s.sending.Add(1)
	go t.pump()
	return nil
}

func (t *streamTable) poke() { ready(t.wake) }

func (t *streamTable) credit(id uint32, total uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.all[id]; st != nil && total > st.credit {
		// Only a stream that had run dry waits for this.
		dry := st.credit-st.sent < chunk
		st.credit = total
		if dry {
			t.poke()
		}
	}
}

// closeHandle ends the streams over a descriptor. It returns when they are
// unmapped: a mapping keeps a perf event, and so its probe, alive.
func (t *streamTable) closeHandle(h wire.Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, st := range t.all {
		if st.handle == h {
			t.drop(st)
		}
	}
}

// drop ends a stream, which the pump may be about to send from; mu is held.
func (t *streamTable) drop(st *stream) {
	delete(t.all, st.id)
	unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, st.fd, nil)
	if st.ring != nil {
		st.ring.Close()
	}
}

// drainAll returns when what the rings held was sent, as far as the credit goes,
// or when the session ends.
func (t *streamTable) drainAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return
	}
	for r := t.round; !t.quit && t.round < r+2; {
		t.poke()
		t.synced.Wait()
	}
}

// closeAll ends all streams. The pump ends when it has written what it is about
// to write.
func (t *streamTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quit {
		return
	}
	t.quit = true
	t.synced.Broadcast()
	for _, st := range t.all {
		t.drop(st)
	}
	if t.active {
		t.poke()
	}
}

// pump moves records from the rings to the host.
func (t *streamTable) pump() {
	defer t.s.sending.Done()
	events := make([]unix.EpollEvent, 64)
	buf := make([]byte, 0, chunk)
	for {
		list := t.snapshot()
		if list == nil {
			return
		}
		moved := false
		for _, st := range list {
			var n int
			buf, n = t.drain(st, buf)
			moved = moved || n > 0
		}
		timeout := tick
		if moved {
			time.Sleep(rest)
			timeout = 0
		}
		n, _ := unix.EpollWait(t.epoll, events, int(timeout/time.Millisecond))
		t.polled(events[:max(n, 0)])
	}
}

// snapshot returns the streams, or nil when the session ends.
func (t *streamTable) snapshot() []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round++
	t.synced.Broadcast()
	if t.quit {
		t.active = false
		unix.Close(t.epoll)
		unix.Close(t.wake)
		return nil
	}
	list := make([]*stream, 0, len(t.all))
	for _, st := range t.all {
		list = append(list, st)
	}
	return list
}

// drain sends what a ring holds, as far as the credit goes. A failed send needs
// no care: the input is about to end.
func (t *streamTable) drain(st *stream, buf []byte) ([]byte, int) {
	moved := 0
	for st.ring != nil {
		var err error
		if buf, err = t.next(st, buf[:0]); err != nil {
			t.end(st, err)
			break
		}
		if len(buf) == 0 {
			break
		}
		t.s.send(wire.TypeData, st.id, &wire.Data{Position: st.sent, Bytes: buf})
		t.advance(st, len(buf))
		moved += len(buf)
		if moved > 1<<20 {
			break // let the other rings have their turn
		}
	}
	return buf, moved
}

// next appends records of a ring to buf, none if the stream has ended.
func (t *streamTable) next(st *stream, buf []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[st.id] != st {
		return buf, nil
	}
	credit := st.credit - st.sent
	buf, err := st.ring.Next(buf, int(min(credit, chunk)))
	if uint64(len(buf)) > credit {
		buf = buf[:0]
	}
	return buf, err
}

// advance frees what was sent, unless the stream has ended meanwhile.
func (t *streamTable) advance(st *stream, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[st.id] == st {
		st.ring.Advance(n)
		st.sent += uint64(n)
	}
}

// end tells the host that a stream is over, unless the host has closed it.
func (t *streamTable) end(st *stream, err error) {
	t.mu.Lock()
	alive := t.all[st.id] == st
	if alive {
		t.drop(st)
	}
	t.mu.Unlock()
	if alive {
		t.s.send(wire.TypeEnd, st.id, status(err))
	}
}

// polled ends the streams which wait for their descriptor only.
func (t *streamTable) polled(events []unix.EpollEvent) {
	for _, ev := range events {
		t.mu.Lock()
		st := t.all[uint32(ev.Fd)]
		t.mu.Unlock()
		switch {
		case ev.Fd == 0:
			var b [8]byte
			unix.Read(t.wake, b[:])
		case st != nil && st.ring == nil:
			t.end(st, nil)
		}
	}
}

// status turns an error into the reply that carries it. Errors which are not
// the kernel's become EIO.
func status(err error) *wire.Status { return &wire.Status{Errno: errno(err)} }

func errno(err error) uint32 {
	if err == nil {
		return 0
	}
	if e := unix.Errno(0); errors.As(err, &e) {
		return uint32(e)
	}
	return uint32(unix.EIO)
}
