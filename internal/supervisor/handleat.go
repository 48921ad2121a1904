package supervisor

import (
	"path/filepath"
	"strconv"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// maxHandle is MAX_HANDLE_SZ, include/linux/exportfs.h.
const maxHandle = 128

// nameToHandle answers name_to_handle_at(2) for the target's files. That is
// how programs learn the id of a cgroup from its directory.
func (s *Supervisor) nameToHandle(r *request) answer {
	path, err := s.pathAt(r, int(int32(r.Args[0])), r.Args[1])
	if err != nil || !targetPath(path) {
		return resume
	}
	var size [4]byte
	if r.thread.ReadAt(r.Args[2], size[:]) != nil {
		return fail(unix.EFAULT)
	}
	n := le.Uint32(size[:])
	if n > maxHandle {
		return fail(unix.EINVAL)
	}
	call := wire.Call{
		Sys: wire.SysNameToHandle, Flags: wire.CallKeepOnError,
		Args: []uint64{uint64(unix.AT_FDCWD & (1<<64 - 1)), 0, 0, 0, r.Args[4] &^ unix.AT_EMPTY_PATH},
		Bufs: []wire.Buf{
			{Flags: wire.BufIn, Len: uint32(len(path) + 1), In: []byte(path)},
			{Flags: wire.BufIn | wire.BufOut, Len: 8 + n, In: size[:]}, // struct file_handle
			{Flags: wire.BufOut, Len: 4},                               // mount_id
		},
	}
	for i := range call.Bufs {
		call.Patches = append(call.Patches, wire.Patch{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: uint32(i + 1), Ref: uint32(i)})
	}
	var reply wire.CallReply
	if s.target.Do(wire.TypeCall, &call, &reply) != nil {
		return linkLost()
	}
	for i, out := range reply.Out {
		full := append(make([]byte, 0, 8+n), out...)
		full = append(full, make([]byte, int(call.Bufs[i+1].Len)-len(out))...)
		if r.thread.WriteAt(r.Args[2+i], full) != nil {
			return fail(unix.EFAULT)
		}
	}
	if reply.Errno != 0 {
		return fromErrno(reply.Errno)
	}
	return value(reply.Ret)
}

// pathAt returns the absolute path that a call like openat(2) means.
func (s *Supervisor) pathAt(r *request, dir int, addr uint64) (string, error) {
	path, err := r.thread.String(addr)
	if err != nil || filepath.IsAbs(path) {
		return path, err
	}
	link := "cwd"
	if dir != unix.AT_FDCWD {
		link = "fd/" + strconv.Itoa(dir)
	}
	base, err := r.thread.Link(link)
	return filepath.Join(base, path), err
}
