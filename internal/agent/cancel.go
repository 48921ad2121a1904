package agent

import (
	"sync"

	"golang.org/x/sys/unix"
)

// cancelTable knows the requests that may wait and can be told to give up.
type cancelTable struct {
	mu     sync.Mutex // protects following
	all    map[uint32]*waiter
	closed bool
}

// waiter is a request that may wait.
type waiter struct {
	t  *cancelTable
	id uint32
	// following are guarded by t.mu
	users  int // a host may give several requests the same id
	gaveUp bool
	fd     int // eventfd, -1 before it waits
}

// add makes a request known, until done. It must be called before the next
// request is looked at, which may be the one that cancels it. Requests with the
// same id are cancelled together.
func (t *cancelTable) add(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[uint32]*waiter)
	}
	if t.all[id] == nil {
		t.all[id] = &waiter{t: t, id: id, fd: -1, gaveUp: t.closed}
	}
	t.all[id].users++
}

// get returns a request that was added.
func (t *cancelTable) get(id uint32) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[id]
}

// done forgets the request.
func (w *waiter) done() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.users--; w.users > 0 {
		return
	}
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	delete(w.t.all, w.id)
}

// wait waits until fd can be read; EINTR if the host cancels the request.
func (w *waiter) wait(fd int) error {
	cancel, err := w.eventfd()
	if err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(cancel), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
		return err
	}
	if fds[1].Revents != 0 {
		return unix.EINTR
	}
	return nil
}

// eventfd returns what becomes readable when the request is cancelled.
func (w *waiter) eventfd() (int, error) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.gaveUp {
		return -1, unix.EINTR
	}
	if w.fd < 0 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return -1, err
		}
		w.fd = fd
	}
	return w.fd, nil
}

// cancel tells the request to give up; t.mu is held.
func (w *waiter) cancel() {
	w.gaveUp = true
	if w.fd >= 0 {
		ready(w.fd)
	}
}

func (t *cancelTable) cancel(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.all[id]; w != nil {
		w.cancel()
	}
}

func (t *cancelTable) cancelAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, w := range t.all {
		w.cancel()
	}
}

// ready makes an eventfd readable.
func ready(fd int) {
	one := [8]byte{0: 1, 7: 0}
	unix.Write(fd, one[:])
}
