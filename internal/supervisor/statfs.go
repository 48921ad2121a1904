package supervisor

import (
	"strconv"
	"strings"

	"bpfd/internal/remotefs"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// statfs answers statfs(2) for the target's files: FUSE cannot say that it is
// a tracefs or a bpffs.
func (s *Supervisor) statfs(r *request) answer {
	path, err := r.thread.String(r.Args[0])
	if err != nil || !targetPath(path) {
		return resume
	}
	return s.remoteStatfs(r, path)
}

// fstatfs answers fstatfs(2) likewise.
func (s *Supervisor) fstatfs(r *request) answer {
	path, err := r.thread.Link("fd/" + strconv.Itoa(int(int32(r.Args[0]))))
	if err != nil || !targetPath(path) {
		return resume
	}
	return s.remoteStatfs(r, path)
}

// targetPath says whether a path of the tool's is served from the target.
func targetPath(path string) bool {
	if strings.HasPrefix(path, remotefs.LocalPath) {
		return false
	}
	for _, dir := range []string{"/sys", "/proc"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

func (s *Supervisor) remoteStatfs(r *request, path string) answer {
	var reply wire.StatfsReply
	if s.target.Do(wire.TypeStatfs, &wire.Path{Path: path}, &reply) != nil {
		return linkLost()
	}
	if reply.Errno != 0 {
		return fromErrno(reply.Errno)
	}
	// struct statfs of the 64-bit architectures, include/uapi/asm-generic/statfs.h
	b := make([]byte, 0, 120)
	for _, v := range []uint64{reply.Type, reply.Bsize, reply.Blocks, reply.Bfree, reply.Bavail,
		reply.Files, reply.Ffree, reply.FsidLo, reply.Namelen, reply.Frsize, reply.Flags, 0, 0, 0, 0} {
		b = le.AppendUint64(b, v)
	}
	if r.thread.WriteAt(r.Args[1], b) != nil {
		return fail(unix.EFAULT)
	}
	return value(0)
}
