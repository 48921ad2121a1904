package main

import (
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// install has the kernel report the calling thread's system calls by a filter
// and returns the descriptor to receive them from.
func install(filter []bpf.RawInstruction) (int, error) {
	const (
		setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
		newListener   = 8 // SECCOMP_FILTER_FLAG_NEW_LISTENER
	)
	list := make([]unix.SockFilter, len(filter))
	for i, r := range filter {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, newListener, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
