package agent

import (
	"sync"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// cancelTable holds an eventfd for each request that waits and can be told to
// give up.
type cancelTable struct {
	mu     sync.Mutex // protects following
	fds    map[uint32]int
	closed bool
}

// add returns the eventfd that becomes readable when the host cancels id.
func (t *cancelTable) add(id uint32) (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fds == nil {
		t.fds = make(map[uint32]int)
	}
	t.fds[id] = fd
	if t.closed {
		signal(fd)
	}
	return fd, nil
}

func (t *cancelTable) remove(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	unix.Close(t.fds[id])
	delete(t.fds, id)
}

func (t *cancelTable) cancel(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd, ok := t.fds[id]; ok {
		signal(fd)
	}
}

func (t *cancelTable) cancelAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, fd := range t.fds {
		signal(fd)
	}
}

// signal makes an eventfd readable.
func signal(fd int) {
	one := [8]byte{0: 1, 7: 0}
	unix.Write(fd, one[:])
}

// readCancelable serves TypeRead.
func (s *session) readCancelable(id uint32, req *wire.Read) wire.Message {
	fd, err := s.cancels.add(id)
	if err != nil {
		return &wire.BytesReply{Errno: errno(err)}
	}
	defer s.cancels.remove(id)
	return s.read(req, fd)
}
