package notify

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Call is a trapped system call, struct seccomp_notif.
type Call struct {
	ID    uint64
	TID   uint32 // the thread which waits, in our pid namespace
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// addFD is struct seccomp_notif_addfd.
type addFD struct {
	id         uint64
	flags      uint32
	src        uint32
	newFD      uint32
	newFDFlags uint32
}

// ioctl(2) requests of a listener, include/uapi/linux/seccomp.h.
const (
	ioctlRecv     = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	ioctlSend     = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	ioctlIDValid  = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	ioctlAddFD    = 0x40182103 // SECCOMP_IOCTL_NOTIF_ADDFD
	ioctlSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS

	addFDSetFD = 1 // SECCOMP_ADDFD_FLAG_SETFD
	syncWakeUp = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, since Linux 6.6
)

// Listener receives the trapped calls of a tool and of all its descendants.
type Listener struct{ fd int }

// NewListener takes over a listener's descriptor.
func NewListener(fd int) *Listener {
	// Handing the processor over to whom we wake makes a call a third
	// cheaper; older kernels do without.
	unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlSetFlags, syncWakeUp)
	return &Listener{fd}
}

// Close ends the listener: calls trapped afterwards fail with ENOSYS.
func (l *Listener) Close() error { return unix.Close(l.fd) }

// Receive waits for the next call. ok is false when no traced process is left.
func (l *Listener) Receive(c *Call) (ok bool, err error) {
	for {
		*c = Call{}
		e := ioctlCall(l.fd, c)
		switch e {
		case 0:
			return true, nil
		case unix.EINTR:
			continue
		case unix.ENOENT: // the caller was killed meanwhile, or there is none any more
			if gone, err := l.hungUp(); gone || err != nil {
				return false, err
			}
			continue
		}
		return false, fmt.Errorf("SECCOMP_IOCTL_NOTIF_RECV: %w", e)
	}
}

// hungUp says whether the last traced process has gone.
func (l *Listener) hungUp() (bool, error) {
	p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err != nil && err != unix.EINTR {
		return false, err
	}
	return p[0].Revents&unix.POLLHUP != 0, nil
}

// Valid says whether the caller still waits. What was read from its memory
// before is the caller's only if it does: a thread id may have been reused.
func (l *Listener) Valid(id uint64) bool { return ioctlID(l.fd, id) == 0 }

// Return answers a call with a value, or with an error if errno is not 0.
func (l *Listener) Return(id uint64, val int64, errno unix.Errno) error {
	r := response{id: id, val: val}
	if errno != 0 {
		r.val, r.errno = 0, -int32(errno)
	}
	return l.send(&r)
}

// Continue lets the kernel run the call as the tool made it.
func (l *Listener) Continue(id uint64) error {
	return l.send(&response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// send answers; a caller that was killed meanwhile needs no answer.
func (l *Listener) send(r *response) error {
	if e := ioctlResponse(l.fd, r); e != 0 && e != unix.ENOENT {
		return fmt.Errorf("SECCOMP_IOCTL_NOTIF_SEND: %w", e)
	}
	return nil
}

// AddFD gives the caller a copy of our descriptor src and returns its number
// there. cloexec sets FD_CLOEXEC.
func (l *Listener) AddFD(id uint64, src int, cloexec bool) (int, error) {
	a := addFD{id: id, src: uint32(src)}
	if cloexec {
		a.newFDFlags = unix.O_CLOEXEC
	}
	return l.addFD(&a)
}

// ReplaceFD makes the caller's descriptor number fd a copy of ours, src.
func (l *Listener) ReplaceFD(id uint64, src, fd int, cloexec bool) error {
	a := addFD{id: id, src: uint32(src), flags: addFDSetFD, newFD: uint32(fd)}
	if cloexec {
		a.newFDFlags = unix.O_CLOEXEC
	}
	_, err := l.addFD(&a)
	return err
}

func (l *Listener) addFD(a *addFD) (int, error) {
	fd, e := ioctlAddFDCall(l.fd, a)
	if e != 0 {
		return -1, fmt.Errorf("SECCOMP_IOCTL_NOTIF_ADDFD: %w", e)
	}
	return fd, nil
}
