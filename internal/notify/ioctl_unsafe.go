package notify

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func ioctl(fd int, request uintptr, p unsafe.Pointer) (int, unix.Errno) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
	return int(r), e
}

func ioctlCall(fd int, c *Call) unix.Errno {
	_, e := ioctl(fd, ioctlRecv, unsafe.Pointer(c))
	return e
}

func ioctlResponse(fd int, r *response) unix.Errno {
	_, e := ioctl(fd, ioctlSend, unsafe.Pointer(r))
	return e
}

func ioctlID(fd int, id uint64) unix.Errno {
	_, e := ioctl(fd, ioctlIDValid, unsafe.Pointer(&id))
	return e
}

func ioctlAddFDCall(fd int, a *addFD) (int, unix.Errno) {
	return ioctl(fd, ioctlAddFD, unsafe.Pointer(a))
}
