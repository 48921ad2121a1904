package spawn

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// child is all that the forked process needs, laid out beforehand: between
// fork and exec it may use no memory but this and its stack.
type child struct {
	sigs   uint64 // signal mask to restore
	all    uint64 // mask of all signals
	prog   unix.SockFprog
	msg    unix.Msghdr
	iov    unix.Iovec
	kind   [1]byte
	rights [24]byte // one SCM_RIGHTS message with one descriptor
	ctl    uintptr
	report uintptr // pipe to the parent: what failed
	path   *byte
	argv   **byte
	envp   **byte
	front  bool // gets the terminal
	pgrp   int32
	failed [8]byte // step, errno
	action [32]byte
}

// cloneArgs is struct clone_args, clone3(2), up to set_tid_size (Linux 5.5).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize uint64
}

// The steps between fork and exec, for messages.
var steps = [...]string{"", "set the parent death signal", "install the seccomp filter", "hand over the filter's listener", "execute", "take the terminal"}

const (
	stepDeath = iota + 1
	stepFilter
	stepListener
	stepExec
	stepTerminal
)

// SECCOMP_SET_MODE_FILTER and its flags, include/uapi/linux/seccomp.h.
const (
	setModeFilter    = 1
	flagNewListener  = 1 << 3 // SECCOMP_FILTER_FLAG_NEW_LISTENER
	flagWaitKillable = 1 << 5 // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, since Linux 5.19
)

// fork forks the process that becomes the tool and waits until it executes
// path. Go's own fork can neither choose the pid nor install a filter.
func (s *stage) fork(path string) (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	c, err := s.prepare(path, w)
	if err != nil {
		return 0, err
	}
	pid, errno := s.clone(c)
	runtime.KeepAlive(c)
	w.Close()
	if errno != 0 {
		return 0, fmt.Errorf("cannot fork the tool: %w", errno)
	}
	var failed [8]byte
	if n, _ := r.Read(failed[:]); n == len(failed) {
		var status unix.WaitStatus
		unix.Wait4(pid, &status, 0, nil)
		return 0, explainStep(path, le.Uint32(failed[:]), unix.Errno(le.Uint32(failed[4:])))
	}
	return pid, nil
}

func explainStep(path string, step uint32, errno unix.Errno) error {
	if step == stepExec {
		status := 126
		if errno == unix.ENOENT {
			return &Error{127, fmt.Sprintf("%s: its interpreter is not there", path)}
		}
		return &Error{status, fmt.Sprintf("%s: %v", path, errno)}
	}
	if step == stepFilter && errno == unix.EBUSY {
		return fmt.Errorf("this host already reports system calls of this process to another supervisor: bpfctl cannot run inside of it")
	}
	return fmt.Errorf("cannot %s: %w", steps[step], errno)
}

func (s *stage) prepare(path string, report *os.File) (*child, error) {
	c := &child{kind: [1]byte{msgListener}, ctl: s.ctl.f.Fd(), report: report.Fd(), all: ^uint64(0), front: s.c.Foreground}
	var err error
	if c.path, err = syscall.BytePtrFromString(path); err != nil {
		return nil, err
	}
	argv, err := syscall.SlicePtrFromStrings(s.c.Args)
	if err != nil {
		return nil, err
	}
	envp, err := syscall.SlicePtrFromStrings(s.c.Env)
	if err != nil {
		return nil, err
	}
	c.argv, c.envp = &argv[0], &envp[0]
	filter := make([]unix.SockFilter, len(s.c.Filter))
	for i, f := range s.c.Filter {
		filter[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	c.prog = unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	c.iov = unix.Iovec{Base: &c.kind[0], Len: 1}
	copy(c.rights[:], unix.UnixRights(0))
	c.msg = unix.Msghdr{Iov: &c.iov, Iovlen: 1, Control: &c.rights[0], Controllen: uint64(len(c.rights))}
	return c, nil
}

// clone forks. All signals are blocked meanwhile: the Go runtime's handlers
// cannot run in the child.
func (s *stage) clone(c *child) (int, unix.Errno) {
	tid := uint64(s.c.PID)
	args := cloneArgs{exitSignal: uint64(unix.SIGCHLD)}
	if tid != 0 {
		args.setTID = uint64(uintptr(unsafe.Pointer(&tid)))
		args.setTIDSize = 1
	}
	pid, errno := c.forkAndExec(&args)
	if errno == unix.EEXIST { // one of our own threads has that number
		args.setTID, args.setTIDSize = 0, 0
		pid, errno = c.forkAndExec(&args)
	}
	runtime.KeepAlive(&tid)
	return pid, errno
}

//go:norace
func (c *child) forkAndExec(args *cloneArgs) (int, unix.Errno) {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.all)), uintptr(unsafe.Pointer(&c.sigs)), 8, 0, 0)
	pid, errno := c.split(args)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.sigs)), 0, 8, 0, 0)
	return pid, errno
}

// split is where there are two processes; the child does not return.
//
//go:norace
//go:nosplit
//go:noinline
func (c *child) split(args *cloneArgs) (int, unix.Errno) {
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if errno != 0 || pid != 0 {
		return int(pid), errno
	}
	c.run()
	return 0, 0
}

// run is the child's life up to exec.
//
//go:norace
//go:nosplit
func (c *child) run() {
	if _, _, e := syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0); e != 0 {
		c.fail(stepDeath, e)
	}
	// Signals that the runtime catches get their default back, before the
	// mask lets one through; ignored ones stay ignored, as over exec.
	for sig := uintptr(1); sig <= 64; sig++ {
		c.action = [32]byte{}
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&c.action)), 8, 0, 0)
		if *(*uint64)(unsafe.Pointer(&c.action)) > 1 {
			c.action = [32]byte{}
			syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&c.action)), 0, 8, 0, 0)
		}
	}
	if c.front {
		c.takeTerminal()
	}
	fd, _, e := syscall.RawSyscall(unix.SYS_SECCOMP, setModeFilter, flagNewListener|flagWaitKillable, uintptr(unsafe.Pointer(&c.prog)))
	if e == unix.EINVAL {
		fd, _, e = syscall.RawSyscall(unix.SYS_SECCOMP, setModeFilter, flagNewListener, uintptr(unsafe.Pointer(&c.prog)))
	}
	if e == unix.EACCES {
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
		fd, _, e = syscall.RawSyscall(unix.SYS_SECCOMP, setModeFilter, flagNewListener|flagWaitKillable, uintptr(unsafe.Pointer(&c.prog)))
	}
	if e != 0 {
		c.fail(stepFilter, e)
	}
	*(*int32)(unsafe.Pointer(&c.rights[16])) = int32(fd)
	if _, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, c.ctl, uintptr(unsafe.Pointer(&c.msg)), 0); e != 0 {
		c.fail(stepListener, e)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&c.sigs)), 0, 8, 0, 0)
	_, _, e = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)), uintptr(unsafe.Pointer(c.argv)), uintptr(unsafe.Pointer(c.envp)))
	c.fail(stepExec, e)
}

// takeTerminal makes the child the leader of the process group in the
// foreground. SIGTTOU, which stops those who do so from the background, is
// blocked.
//
//go:norace
//go:nosplit
func (c *child) takeTerminal() {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	c.pgrp = int32(pid)
	_, _, e := syscall.RawSyscall(unix.SYS_SETPGID, 0, 0, 0)
	if e == 0 {
		_, _, e = syscall.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSPGRP, uintptr(unsafe.Pointer(&c.pgrp)))
	}
	if e != 0 {
		c.fail(stepTerminal, e)
	}
}

// fail tells the parent and ends the child.
//
//go:norace
//go:nosplit
func (c *child) fail(step uint32, e syscall.Errno) {
	*(*uint32)(unsafe.Pointer(&c.failed[0])) = step
	*(*uint32)(unsafe.Pointer(&c.failed[4])) = uint32(e)
	syscall.RawSyscall(unix.SYS_WRITE, c.report, uintptr(unsafe.Pointer(&c.failed)), 8)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	}
}
