package supervisor

import (
	"runtime"

	"bpfd/internal/abi"
	"bpfd/internal/tracee"

	"golang.org/x/sys/unix"
)

// Waiting is never emulated: a blocking call of the tool continues in the
// kernel, on a descriptor that we can make ready.

// epollEventSize is that of struct epoll_event, which is packed on x86 only.
func epollEventSize() int {
	if runtime.GOARCH == "amd64" {
		return 12
	}
	return 16
}

// epollCtl answers epoll_ctl(2): an eventfd of ours goes into the tool's epoll
// instance in place of the object.
func (s *Supervisor) epollCtl(r *request) answer {
	epfd, op, fd := int(int32(r.Args[0])), int(r.Args[1]), int(int32(r.Args[2]))
	o := s.objects.lookup(r, fd)
	if o == nil || !o.waitable() {
		return resume
	}
	var ev unix.EpollEvent
	if op != unix.EPOLL_CTL_DEL {
		b := make([]byte, epollEventSize())
		if err := r.thread.ReadAt(r.Args[3], b); err != nil {
			return fail(unix.EFAULT)
		}
		ev.Events = le.Uint32(b)
		ev.Fd, ev.Pad = int32(le.Uint32(b[len(b)-8:])), int32(le.Uint32(b[len(b)-4:]))
	}
	if !o.level {
		ev.Events |= unix.EPOLLET & 0xffffffff
	}
	event, err := s.objects.eventfd(o)
	if err != nil {
		return fail(unix.ENOMEM)
	}
	if ring := o.ring.Load(); op != unix.EPOLL_CTL_DEL && !o.level && (ring == nil || !ring.pending()) {
		// What was reported before is not to be reported to who begins to wait.
		s.objects.settle(o)
	}
	ours, err := r.thread.Dup(epfd)
	if err != nil {
		return fail(unix.EBADF)
	}
	defer unix.Close(ours)
	if err := unix.EpollCtl(ours, op, event, &ev); err != nil {
		return fail(err.(unix.Errno))
	}
	return value(0)
}

// waitable says whether an object can be waited for: others are always ready,
// as the kernel's are.
func (o *object) waitable() bool {
	switch o.Kind {
	case abi.KindPerf, abi.KindPidfd:
		return true
	case abi.KindMap:
		return o.Map != nil && (o.Map.Type == abi.BPF_MAP_TYPE_RINGBUF || o.Map.Type == abi.BPF_MAP_TYPE_USER_RINGBUF)
	}
	return false
}

// eventfd returns the object's eventfd, which it makes the first time.
func (r *registry) eventfd(o *object) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.event >= 0 {
		return o.event, nil
	}
	var count uint
	if o.ready {
		count = 1
	}
	fd, err := unix.Eventfd(count, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		o.event = fd
	}
	return fd, err
}

// wake makes ready what waits for the object.
func (r *registry) wake(o *object) {
	one := [8]byte{1}
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.event >= 0 {
		unix.Write(o.event, one[:])
	}
	if o.ready {
		return
	}
	o.ready = true
	for sock := range o.sockets {
		unix.Write(sock, one[:1])
	}
}

// wakeAll makes everything ready: there will be nothing more to wait for.
func (r *registry) wakeAll() {
	r.mu.Lock()
	list := make([]*object, 0, len(r.byWatch))
	for _, b := range r.byWatch {
		list = append(list, b.o)
	}
	r.mu.Unlock()
	for _, o := range list {
		r.wake(o)
	}
}

// maxPoll bounds the descriptors of a poll that are looked at.
const maxPoll = 4096

// poll answers poll(2) and ppoll(2): each of our objects among the descriptors
// becomes a socket, under the same number, before the kernel polls it.
func (s *Supervisor) poll(r *request) answer {
	n := int(uint32(r.Args[1]))
	if n == 0 || n > maxPoll {
		return resume
	}
	b := make([]byte, 8*n)
	if r.thread.ReadAt(r.Args[0], b) != nil {
		return resume
	}
	for i := range n {
		s.pollable(r, int(int32(le.Uint32(b[8*i:]))))
	}
	return resume
}

// selectCall answers select(2) and pselect6(2) likewise, for the read set.
func (s *Supervisor) selectCall(r *request) answer {
	n := int(int32(r.Args[0]))
	if n <= 0 || n > maxPoll || r.Args[1] == 0 {
		return resume
	}
	b := make([]byte, (n+63)/64*8)
	if r.thread.ReadAt(r.Args[1], b) != nil {
		return resume
	}
	for fd := range n {
		if b[fd/8]&(1<<(fd%8)) != 0 {
			s.pollable(r, fd)
		}
	}
	return resume
}

// pollable makes a descriptor of the tool one that the kernel can poll.
func (s *Supervisor) pollable(r *request, fd int) {
	o := s.objects.lookup(r, fd)
	if o == nil || !o.waitable() {
		return
	}
	id, err := r.thread.Descriptor(fd)
	if err != nil {
		return
	}
	if memfd, other := s.objects.standsAs(o, id); memfd || other {
		s.replace(r, o, fd)
		return
	}
	if o.level || !s.objects.settle(o) {
		return
	}
	// The tool has seen that the socket is ready; empty it, unless there is
	// still something to consume.
	ours, err := r.thread.Dup(fd)
	if err != nil {
		return
	}
	var b [64]byte
	for {
		if n, _, err := unix.Recvfrom(ours, b[:], unix.MSG_DONTWAIT); n <= 0 || err != nil {
			break
		}
	}
	unix.Close(ours)
	if ring := o.ring.Load(); ring != nil && ring.pending() {
		s.objects.wake(o)
	}
}

// settle takes back the readiness of an object and says whether it had any.
func (r *registry) settle(o *object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := o.ready
	o.ready = false
	if o.event >= 0 {
		var b [8]byte
		unix.Read(o.event, b[:])
	}
	return was
}

// replace puts one end of a socket pair in place of the tool's descriptor.
func (s *Supervisor) replace(r *request, o *object, fd int) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(p[1])
	id, err := tracee.Thread(unix.Getpid()).Descriptor(p[1])
	if err != nil {
		unix.Close(p[0])
		return
	}
	s.objects.addSocket(o, p[0], id)
	if err := s.listener.ReplaceFD(r.ID, p[1], fd, r.thread.CloseOnExec(fd)); err != nil {
		s.objects.closedSocket(p[0])
	}
}

func (r *registry) addSocket(o *object, sock int, id tracee.Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.sockets == nil {
		o.sockets = make(map[int]tracee.Identity)
	}
	o.sockets[sock] = id
	r.polled.Add(1)
	r.byID[id] = o
	r.bySock[sock] = o
	if ring := o.ring.Load(); o.ready || ring != nil && ring.pending() {
		o.ready = true
		unix.Write(sock, []byte{1})
	}
	ev := unix.EpollEvent{Events: unix.EPOLLRDHUP, Fd: int32(sock)}
	unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, sock, &ev)
}
