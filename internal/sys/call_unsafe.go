package sys

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Address returns where b begins, for use as a system call's argument. The
// caller keeps b alive until the call is over, by Call's keep.
func Address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// Call makes a system call whose arguments may be addresses inside of keep.
// The heap does not move, and keep is held until the call has returned.
func Call(nr uintptr, a *[6]uintptr, keep [][]byte) (uintptr, unix.Errno) {
	r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	runtime.KeepAlive(keep)
	return r, errno
}

// FuncAddress returns where the code of f begins.
func FuncAddress(f func()) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

// readNow reads what is there, or fails with EAGAIN.
func readNow(fd int, p []byte) (int, unix.Errno) {
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	n, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, ^uintptr(0), ^uintptr(0), rwfNowait)
	return int(n), errno
}
