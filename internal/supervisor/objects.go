package supervisor

import (
	"fmt"
	"sync"
	"sync/atomic"

	"bpfd/internal/marshal"
	"bpfd/internal/tracee"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// object is a descriptor on the target and what stands for it in the tool: a
// memfd, which the tool may duplicate, pass on and map like the real thing.
type object struct {
	marshal.Object
	name    string // what /proc/PID/fd shows for the real thing
	level   bool   // stays ready: a pidfd
	standIn bool   // exists here only, see standInBTF

	// guarded by the registry's mu
	backs   []*back // what stands for it, the first one from the beginning
	memfd   int     // of what the tool maps, -1 if there is none
	event   int     // eventfd in the tool's epoll instances, -1 before the first
	sockets map[int]tracee.Identity
	ready   bool // what waits for it may go on

	mapping sync.Mutex // held while a mapping of the tool's is prepared
	ring    atomic.Pointer[ringState]
	array   atomic.Pointer[arrayState]
	frozen  atomic.Bool
	link    atomic.Uint32 // type of a link, 0 before it is known
	walk    *walkState
}

// back is a file that stands for an object.
type back struct {
	o     *object
	id    tracee.Identity
	watch int
	opens int // how many times the tool has it open, each with all its copies and mappings
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
	polled  atomic.Int32 // how many sockets there are

	mu      sync.Mutex // protects following
	byID    map[tracee.Identity]*object
	byWatch map[int]*back
	bySock  map[int]*object
}

type poster interface {
	Post(t wire.Type, m wire.Message) error
}

func newRegistry(target poster) (*registry, error) {
	r := &registry{
		target:  target,
		byID:    make(map[tracee.Identity]*object),
		byWatch: make(map[int]*back),
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

// lookup returns the object behind a descriptor of the caller's, nil if it is
// none of ours.
func (r *registry) lookup(of *request, fd int) *object {
	if fd < 0 {
		return nil
	}
	id, err := of.Descriptor(fd)
	if err != nil {
		return nil
	}
	return r.find(id)
}

// create makes a memfd that stands for o and returns a descriptor for the tool,
// which the caller closes when it has handed it over: from then on the object
// lives as long as the tool's copies.
func (r *registry) create(o *object) (int, error) {
	memfd, err := unix.MemfdCreate(o.name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	// Opened anew, so that closing it is told apart from closing ours.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", memfd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = r.adopt(o, fd); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		unix.Close(memfd)
		return -1, err
	}
	r.mu.Lock()
	o.memfd = memfd
	r.mu.Unlock()
	return fd, nil
}

// adopt has an open file stand for o, which lives at least until the last copy
// and mapping of it are gone.
func (r *registry) adopt(o *object, fd int) error {
	id, err := tracee.Thread(unix.Getpid()).Descriptor(fd)
	if err != nil {
		return err
	}
	watch, err := unix.InotifyAddWatch(r.inotify, fmt.Sprintf("/proc/self/fd/%d", fd), unix.IN_CLOSE_WRITE)
	if err != nil {
		return fmt.Errorf("inotify_add_watch: %w (fs.inotify.max_user_watches)", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(o.backs) == 0 {
		o.event, o.memfd = -1, -1
	}
	b := r.byWatch[watch]
	if b == nil { // else it is the same file, opened again
		b = &back{o: o, id: id, watch: watch}
		o.backs = append(o.backs, b)
		r.byWatch[watch] = b
		r.byID[id] = o
	}
	b.opens++
	return nil
}

// standsAs says whether an identity is that of the object's memfd, or of
// another file that stands for it. Neither: it is a socket.
func (r *registry) standsAs(o *object, id tracee.Identity) (memfd, other bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range o.backs {
		if b.id == id {
			// A file that is read comes first, and a memfd when it is mapped.
			memfd = i > 0 || !o.Readable
			return memfd, !memfd
		}
	}
	return false, false
}

// identities returns those of the files which stand for an object.
func (r *registry) identities(o *object) map[tracee.Identity]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make(map[tracee.Identity]bool)
	for _, b := range o.backs {
		ids[b.id] = true
	}
	return ids
}

// gone says whether nothing stands for an object any more; mu is held.
func (o *object) gone() bool {
	for _, b := range o.backs {
		if b.opens > 0 {
			return false
		}
	}
	return len(o.sockets) == 0
}

// drain handles what the tool has closed.
func (r *registry) drain() {
	r.drained.Lock()
	defer r.drained.Unlock()
	for r.drainFiles() {
	}
	if r.polled.Load() > 0 {
		r.drainSockets()
	}
}

// drainFiles handles some of inotify's events; it says whether there were any.
func (r *registry) drainFiles() bool {
	var buf [4096]byte
	n, err := unix.Read(r.inotify, buf[:])
	if err != nil || n < unix.SizeofInotifyEvent {
		return false
	}
	for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		wd := int(int32(le.Uint32(b)))
		mask := le.Uint32(b[4:])
		b = b[unix.SizeofInotifyEvent+le.Uint32(b[12:]):]
		if mask&unix.IN_CLOSE_WRITE != 0 {
			r.closedFile(wd)
		}
	}
	return true
}

// drainSockets handles the sockets whose other end is closed.
func (r *registry) drainSockets() {
	events := make([]unix.EpollEvent, 16)
	for n := len(events); n == len(events); {
		n, _ = unix.EpollWait(r.epoll, events, 0)
		for _, ev := range events[:max(n, 0)] {
			r.closedSocket(int(ev.Fd))
		}
	}
}

func (r *registry) closedFile(wd int) {
	r.mu.Lock()
	b := r.byWatch[wd]
	gone := false
	if b != nil {
		b.opens--
		gone = b.o.gone()
	}
	r.mu.Unlock()
	if gone {
		r.remove(b.o)
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
		gone = o.gone()
	}
	r.mu.Unlock()
	if o == nil {
		return // not a socket: inotify, or what ends the watch
	}
	r.polled.Add(-1)
	unix.Close(sock)
	if gone {
		r.remove(o)
	}
}

// remove forgets an object and closes it on the target.
func (r *registry) remove(o *object) {
	r.mu.Lock()
	backs := o.backs
	o.backs = nil
	for _, b := range backs {
		delete(r.byID, b.id)
		delete(r.byWatch, b.watch)
	}
	r.mu.Unlock()
	if backs == nil {
		return // another thread was faster
	}
	for _, b := range backs {
		unix.InotifyRmWatch(r.inotify, uint32(b.watch))
	}
	r.target.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{o.Handle}})
	r.removed(o)
	r.release(o)
}

// release frees what the object holds here.
func (r *registry) release(o *object) {
	o.mapping.Lock()
	defer o.mapping.Unlock()
	if ring := o.ring.Load(); ring != nil {
		ring.close()
	}
	if array := o.array.Load(); array != nil {
		array.close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range []int{o.memfd, o.event} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	o.memfd, o.event = -1, -1
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
			if int(ev.Fd) == stop {
				return
			}
		}
		r.drain()
	}
}

// find returns the object behind a file, nil if it is none of ours.
func (r *registry) find(id tracee.Identity) *object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}
