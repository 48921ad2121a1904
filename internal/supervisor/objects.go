package supervisor

import (
	"fmt"
	"sync"

	"bpfd/internal/marshal"
	"bpfd/internal/tracee"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// object is a descriptor on the target and what stands for it in the tool: a
// memfd, which the tool may duplicate, pass on and map like the real thing.
type object struct {
	marshal.Object
	id    tracee.Identity
	name  string // what /proc/PID/fd shows for the real thing
	memfd int
	watch int
	event int  // eventfd in the tool's epoll instances, -1 before the first
	level bool // stays ready: a pidfd

	// guarded by the registry's mu
	open    bool // the tool has the memfd open or mapped
	sockets map[int]tracee.Identity
	ready   bool // what waits for it may go on

	ring  *ringState
	array *arrayState
	walk  *walkState
}

// registry finds the object behind a tool's descriptor, and notices when the
// last copy and mapping of it are gone.
type registry struct {
	target  poster
	removed func(*object)
	inotify int
	epoll   int // of the sockets' ends, and of inotify

	// drained is held from reading inotify's events to telling the target, so
	// that a close takes effect before any call that the tool makes after it.
	drained sync.Mutex

	mu      sync.Mutex // protects following
	byID    map[tracee.Identity]*object
	byWatch map[int]*object
	bySock  map[int]*object
}

type poster interface {
	Post(t wire.Type, m wire.Message) error
}

func newRegistry(target poster) (*registry, error) {
	r := &registry{
		target:  target,
		byID:    make(map[tracee.Identity]*object),
		byWatch: make(map[int]*object),
		bySock:  make(map[int]*object),
	}
	var err error
	if r.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r.inotify)}
	return r, unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, r.inotify, &ev)
}

// lookup returns the object behind a descriptor of the tool, nil if it is none
// of ours.
func (r *registry) lookup(t tracee.Thread, fd int) *object {
	if fd < 0 {
		return nil
	}
	id, err := t.Descriptor(fd)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// create makes the placeholder of o and returns a descriptor for the tool,
// which the caller closes when it has handed it over: from then on the object
// lives as long as the tool's copies.
func (r *registry) create(o *object) (int, error) {
	memfd, err := unix.MemfdCreate(o.name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", memfd)
	o.memfd, o.event, o.open = memfd, -1, true
	if o.id, err = tracee.Thread(unix.Getpid()).Descriptor(memfd); err != nil {
		unix.Close(memfd)
		return -1, err
	}
	if o.watch, err = unix.InotifyAddWatch(r.inotify, path, unix.IN_CLOSE_WRITE); err != nil {
		unix.Close(memfd)
		return -1, fmt.Errorf("inotify_add_watch: %w (fs.inotify.max_user_watches)", err)
	}
	r.mu.Lock()
	r.byID[o.id] = o
	r.byWatch[o.watch] = o
	r.mu.Unlock()
	// Opened anew, so that closing it is told apart from closing ours.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		r.remove(o)
		return -1, err
	}
	return fd, nil
}

// drain handles what the tool has closed.
func (r *registry) drain() {
	var buf [4096]byte
	r.drained.Lock()
	defer r.drained.Unlock()
	for {
		n, err := unix.Read(r.inotify, buf[:])
		if err != nil || n < unix.SizeofInotifyEvent {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int(int32(le.Uint32(b)))
			mask := le.Uint32(b[4:])
			b = b[unix.SizeofInotifyEvent+le.Uint32(b[12:]):]
			if mask&unix.IN_CLOSE_WRITE != 0 {
				r.closedMemfd(wd)
			}
		}
	}
}

func (r *registry) closedMemfd(wd int) {
	r.mu.Lock()
	o := r.byWatch[wd]
	gone := false
	if o != nil {
		o.open = false
		gone = len(o.sockets) == 0
	}
	r.mu.Unlock()
	if gone {
		r.remove(o)
	}
}

// closedSocket handles the end of a descriptor that poll(2) has replaced.
func (r *registry) closedSocket(sock int) {
	r.mu.Lock()
	o := r.bySock[sock]
	gone := false
	if o != nil {
		delete(r.bySock, sock)
		delete(r.byID, o.sockets[sock])
		delete(o.sockets, sock)
		gone = !o.open && len(o.sockets) == 0
	}
	r.mu.Unlock()
	unix.Close(sock)
	if gone {
		r.remove(o)
	}
}

// remove forgets an object and closes it on the target.
func (r *registry) remove(o *object) {
	r.mu.Lock()
	if r.byWatch[o.watch] != o {
		r.mu.Unlock()
		return
	}
	delete(r.byID, o.id)
	delete(r.byWatch, o.watch)
	r.mu.Unlock()
	unix.InotifyRmWatch(r.inotify, uint32(o.watch))
	r.target.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{o.Handle}})
	r.removed(o)
	o.release()
}

// release frees what the object holds here.
func (o *object) release() {
	if o.ring != nil {
		o.ring.close()
	}
	if o.array != nil {
		o.array.close()
	}
	unix.Close(o.memfd)
	if o.event >= 0 {
		unix.Close(o.event)
	}
}

// watchCloses handles closes while the tool makes no calls, until stop is
// readable.
func (r *registry) watchCloses(stop int) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(stop)}
	if unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, stop, &ev) != nil {
		return
	}
	events := make([]unix.EpollEvent, 16)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			switch int(ev.Fd) {
			case stop:
				return
			case r.inotify:
				r.drain()
			default:
				r.closedSocket(int(ev.Fd))
			}
		}
	}
}

// byInode returns the object whose placeholder is the file with that identity.
func (r *registry) byInode(dev, ino uint64) *object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[tracee.Identity{Dev: dev, Ino: ino}]
}
