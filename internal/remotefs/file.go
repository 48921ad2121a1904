package remotefs

import (
	"path"
	"strings"
	"syscall"

	"bpfd/internal/wire"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// snapshot is how much of a file is read when it is opened.
const snapshot = 128 << 10

// file is an open file of the target. What procfs and sysfs say is read when
// it is opened, as far as it fits, so that it is of one moment.
type file struct {
	fs     *FS
	handle wire.Handle // 0 if the snapshot is the whole file
	data   []byte
	stream bool // has no positions: trace_pipe
	cached bool // by the kernel
}

var (
	_ fs.FileReader   = (*file)(nil)
	_ fs.FileWriter   = (*file)(nil)
	_ fs.FileReleaser = (*file)(nil)
	_ fs.FileFlusher  = (*file)(nil)
	_ fs.FileFsyncer  = (*file)(nil)
)

// openFlags translates open(2)'s flags; O_CREAT and O_TRUNC never get here.
var openFlags = [...]struct {
	local int
	wire  wire.OpenFlags
}{
	{unix.O_APPEND, wire.OpenAppend},
	{unix.O_DIRECTORY, wire.OpenDirectory},
}

func remoteFlags(flags uint32) wire.OpenFlags {
	var f wire.OpenFlags
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		f = wire.OpenRead
	case unix.O_WRONLY:
		f = wire.OpenWrite
	default:
		f = wire.OpenRead | wire.OpenWrite
	}
	for _, o := range openFlags {
		if flags&uint32(o.local) != 0 {
			f |= o.wire
		}
	}
	return f
}

// streams are files whose reading takes away what is read.
func isStream(p string) bool {
	base := path.Base(p)
	return strings.HasPrefix(base, "trace_pipe") || base == "kmsg"
}

// immutable says whether a file stays the same while the target runs.
func immutable(p string) bool {
	return strings.HasPrefix(p, "/sys/kernel/btf/") || p == "/sys/kernel/kheaders.tar.xz"
}

// Open opens a file of the target.
func (n *node) Open(ctx ctxt, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f := &file{fs: n.fs, stream: isStream(n.path)}
	req := wire.Open{Result: n.fs.remote.NewHandle(), Flags: remoteFlags(flags), Path: n.path}
	if req.Flags&wire.OpenWrite == 0 && !f.stream {
		req.Snapshot = snapshot
	}
	var reply wire.OpenReply
	if e := result(n.fs.remote.Do(wire.TypeOpen, &req, &reply), reply.Errno); e != 0 {
		return nil, 0, e
	}
	f.data = reply.Bytes
	if !reply.EOF {
		f.handle = req.Result
	}
	if immutable(n.path) {
		f.cached = true
		return f, fuse.FOPEN_KEEP_CACHE, 0
	}
	return f, fuse.FOPEN_DIRECT_IO, 0
}

// Read reads from the snapshot, and behind it from the target. It fills dest
// unless the file ends: the kernel takes less for the end of a cached file.
func (f *file) Read(ctx ctxt, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if f.stream {
		b, e := f.readRemote(ctx, wire.NoOffset, len(dest))
		return fuse.ReadResultData(b), e
	}
	n := 0
	if off < int64(len(f.data)) {
		n = copy(dest, f.data[off:])
	}
	for f.handle != 0 && n < len(dest) {
		b, e := f.readRemote(ctx, off+int64(n), len(dest)-n)
		if e != 0 && n == 0 {
			return nil, e
		}
		if len(b) == 0 {
			break
		}
		n += copy(dest[n:], b)
		if !f.cached {
			break
		}
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (f *file) readRemote(ctx ctxt, off int64, n int) ([]byte, syscall.Errno) {
	req := wire.Read{Handle: f.handle, Off: off, Len: uint32(n)}
	var reply wire.BytesReply
	var err error
	if f.stream {
		err = f.fs.remote.DoCancel(ctx.Done(), wire.TypeRead, &req, &reply)
	} else {
		err = f.fs.remote.Do(wire.TypeRead, &req, &reply)
	}
	return reply.Bytes, result(err, reply.Errno)
}

// Write is one write(2) on the target.
func (f *file) Write(ctx ctxt, data []byte, off int64) (uint32, syscall.Errno) {
	req := wire.Write{Handle: f.handle, Off: wire.NoOffset, Bytes: data}
	var reply wire.WriteReply
	e := result(f.fs.remote.Do(wire.TypeWrite, &req, &reply), reply.Errno)
	return reply.Count, e
}

// Flush has nothing to do: every write has arrived.
func (f *file) Flush(ctxt) syscall.Errno { return 0 }

// Fsync likewise.
func (f *file) Fsync(ctxt, uint32) syscall.Errno { return 0 }

// Release closes the file on the target.
func (f *file) Release(ctxt) syscall.Errno {
	if f.handle != 0 {
		f.fs.remote.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{f.handle}})
	}
	return 0
}
