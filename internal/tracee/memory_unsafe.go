package tracee

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func readv(pid int, addr uint64, p []byte) (int, unix.Errno) {
	return processVM(unix.SYS_PROCESS_VM_READV, pid, addr, p)
}

func writev(pid int, addr uint64, p []byte) (int, unix.Errno) {
	return processVM(unix.SYS_PROCESS_VM_WRITEV, pid, addr, p)
}

// processVM moves bytes with process_vm_readv(2) or process_vm_writev(2).
func processVM(nr uintptr, pid int, addr uint64, p []byte) (int, unix.Errno) {
	local := unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	remote := struct{ base, len uint64 }{addr, uint64(len(p))}
	n, _, e := unix.Syscall6(nr, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	return int(n), e
}

// readBoth reads p, and q if it can be read: it returns how many bytes of both.
func readBoth(pid int, addr uint64, p []byte, second uint64, q []byte) (int, unix.Errno) {
	local := [2]unix.Iovec{{Base: unsafe.SliceData(p), Len: uint64(len(p))}, {Base: unsafe.SliceData(q), Len: uint64(len(q))}}
	remote := [2]struct{ base, len uint64 }{{addr, uint64(len(p))}, {second, uint64(len(q))}}
	n, _, e := unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(pid),
		uintptr(unsafe.Pointer(&local)), 2, uintptr(unsafe.Pointer(&remote)), 2, 0)
	return int(n), e
}

// identify returns the identity of the file at path, which ends in NUL and
// begins at dir. It asks no file system for it: the file may be on the one that
// this process serves.
func identify(dir int, path []byte) (Identity, error) {
	var st unix.Statx_t
	_, _, e := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(path))),
		unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_TYPE, uintptr(unsafe.Pointer(&st)), 0)
	if e != 0 {
		return Identity{}, e
	}
	return Identity{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}, nil
}
