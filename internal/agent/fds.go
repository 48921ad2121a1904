package agent

import (
	"sync"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// fdTable holds the descriptors of a session under the host's names for them.
type fdTable struct {
	mu      sync.Mutex // protects following
	fds     map[wire.Handle]int
	onClose []func(wire.Handle)
}

func newFDTable() *fdTable { return &fdTable{fds: make(map[wire.Handle]int)} }

// get returns a descriptor's number.
func (t *fdTable) get(h wire.Handle) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fd, ok := t.fds[h]
	return fd, ok
}

// mappable returns the number of a descriptor whose memory is the kernel's own:
// a file may end before its mapping does, and a look behind its end is a SIGBUS.
func (t *fdTable) mappable(h wire.Handle) (int, error) {
	fd, ok := t.get(h)
	if !ok {
		return -1, unix.EBADF
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != 0 { // no anonymous inode
		return -1, unix.ENODEV
	}
	return fd, nil
}

// put keeps fd under the name h. A name that is taken loses what it had.
func (t *fdTable) put(h wire.Handle, fd int) {
	for !t.tryPut(h, fd) {
		t.close(h)
	}
}

func (t *fdTable) tryPut(h wire.Handle, fd int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.fds[h]; taken {
		return false
	}
	t.fds[h] = fd
	return true
}

// close drops a descriptor and what hangs on it: mappings and streams.
func (t *fdTable) close(h wire.Handle) {
	t.mu.Lock()
	fd, ok := t.fds[h]
	delete(t.fds, h)
	t.mu.Unlock()
	if !ok {
		return
	}
	for _, f := range t.onClose {
		f(h)
	}
	unix.Close(fd)
}

// closeAll drops every descriptor.
func (t *fdTable) closeAll() {
	t.mu.Lock()
	var all []wire.Handle
	for h := range t.fds {
		all = append(all, h)
	}
	t.mu.Unlock()
	for _, h := range all {
		t.close(h)
	}
}

// pathTable remembers the paths of files that are open for writing.
type pathTable struct {
	mu    sync.Mutex // protects following
	paths map[wire.Handle]string
}

func (t *pathTable) put(h wire.Handle, path string) {
	if !isEvents(path) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paths == nil {
		t.paths = make(map[wire.Handle]string)
	}
	t.paths[h] = path
}

func (t *pathTable) get(h wire.Handle) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, ok := t.paths[h]
	return path, ok
}

func (t *pathTable) close(h wire.Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.paths, h)
}
