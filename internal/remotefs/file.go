package remotefs

import (
	"path"
	"regexp"
	"strings"
	"sync"
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
	fs       *FS
	path     string
	stream   bool // has no positions: trace_pipe
	writable bool // is read anew each time
	cached   bool // by the kernel

	mu     sync.Mutex  // protects following
	handle wire.Handle // 0 if the snapshot is the whole file
	data   []byte      // the snapshot
	begun  bool        // it was read from its beginning
	ahead  window
}

// window is what was read behind the snapshot last.
type window struct {
	off  int64
	data []byte
}

// maxAhead is how much is read at most before it is asked for. It doubles with
// each read that goes on where the one before has ended: kallsyms is read in
// pieces of 1 KB.
const maxAhead = 1 << 20

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
	return strings.HasPrefix(p, "/sys/kernel/btf/") || p == kheaders
}

// Open opens a file of the target.
func (n *node) Open(ctx ctxt, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f := &file{fs: n.fs, path: n.path, stream: isStream(n.path), writable: flags&unix.O_ACCMODE != unix.O_RDONLY}
	if known := n.fs.opts.Known[n.path]; known != nil && !f.writable {
		if f.data = known(); f.data != nil {
			f.cached = true
			return f, fuse.FOPEN_KEEP_CACHE, 0
		}
	}
	if e := f.open(remoteFlags(flags)); e != 0 {
		return nil, 0, e
	}
	if immutable(n.path) {
		f.cached = true
		return f, fuse.FOPEN_KEEP_CACHE, 0
	}
	return f, fuse.FOPEN_DIRECT_IO, 0
}

// open opens the file on the target, and reads its beginning if it can.
func (f *file) open(flags wire.OpenFlags) syscall.Errno {
	req := wire.Open{Result: f.fs.remote.NewHandle(), Flags: flags, Path: f.path}
	if !f.writable && !f.stream {
		req.Snapshot = snapshot
	}
	var reply wire.OpenReply
	if e := result(f.fs.remote.Do(wire.TypeOpen, &req, &reply), reply.Errno); e != 0 {
		return e
	}
	h := req.Result
	if reply.EOF {
		h = 0
	}
	f.mu.Lock()
	old := f.handle
	f.handle, f.data, f.ahead = h, reply.Bytes, window{}
	f.mu.Unlock()
	f.close(old)
	return 0
}

// Read reads from the snapshot, and behind it from the target. It fills dest
// unless the file ends: the kernel takes less for the end of a cached file.
func (f *file) Read(ctx ctxt, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if f.stream {
		b, e := f.readRemote(ctx, f.handle, wire.NoOffset, len(dest))
		return fuse.ReadResultData(b), e
	}
	if off == 0 && !f.cached && !f.writable {
		if e := f.rewind(); e != 0 {
			return nil, e
		}
	}
	f.mu.Lock()
	data, h := f.data, f.handle
	f.mu.Unlock()
	n := 0
	if off < int64(len(data)) {
		n = copy(dest, data[off:])
	}
	for h != 0 && n < len(dest) {
		b, e := f.readAhead(ctx, h, off+int64(n), len(dest)-n)
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

// rewind takes a new snapshot when the file is read from its beginning again:
// that is how a tool asks procfs for the present state.
func (f *file) rewind() syscall.Errno {
	f.mu.Lock()
	again := f.begun
	f.begun = true
	f.mu.Unlock()
	if !again {
		return 0
	}
	return f.open(wire.OpenRead)
}

// readAhead returns up to n bytes at off, from what was read before if it is
// there.
func (f *file) readAhead(ctx ctxt, h wire.Handle, off int64, n int) ([]byte, syscall.Errno) {
	if f.writable {
		return f.readRemote(ctx, h, off, n)
	}
	f.mu.Lock()
	w, data := f.ahead, f.data
	f.mu.Unlock()
	if off >= w.off && off < w.off+int64(len(w.data)) {
		b := w.data[off-w.off:]
		return b[:min(n, len(b))], 0
	}
	want := n
	if off == w.off+int64(len(w.data)) || off == int64(len(data)) {
		want = max(n, min(2*max(len(w.data), len(data)), maxAhead))
	}
	b, e := f.readRemote(ctx, h, off, want)
	if e != 0 {
		return nil, e
	}
	f.mu.Lock()
	f.ahead = window{off, b}
	f.mu.Unlock()
	return b[:min(n, len(b))], 0
}

func (f *file) readRemote(ctx ctxt, h wire.Handle, off int64, n int) ([]byte, syscall.Errno) {
	req := wire.Read{Handle: h, Off: off, Len: uint32(n)}
	var reply wire.BytesReply
	var err error
	if f.stream {
		err = f.fs.remote.DoCancel(ctx.Done(), wire.TypeRead, &req, &reply)
	} else {
		err = f.fs.remote.Do(wire.TypeRead, &req, &reply)
	}
	return reply.Bytes[:min(n, len(reply.Bytes))], result(err, reply.Errno)
}

// memory matches the files that are a process's memory: bcc counts up the
// semaphores of USDT probes there.
var memory = regexp.MustCompile(`^/proc/(\d+/task/)?\d+/mem$`)

// Write is one write(2) on the target; in a process's memory, one pwrite(2).
func (f *file) Write(ctx ctxt, data []byte, off int64) (uint32, syscall.Errno) {
	req := wire.Write{Handle: f.handle, Off: wire.NoOffset, Bytes: data}
	if memory.MatchString(f.path) {
		req.Off = off
	}
	if definesUprobes(f.path) {
		var e syscall.Errno
		if req.Bytes, e = f.fs.uprobes(data); e != 0 {
			return 0, e
		}
	}
	var reply wire.WriteReply
	e := result(f.fs.remote.Do(wire.TypeWrite, &req, &reply), reply.Errno)
	if int(reply.Count) == len(req.Bytes) {
		reply.Count = uint32(len(data))
	}
	return min(reply.Count, uint32(len(data))), e
}

// Flush has nothing to do: every write has arrived.
func (f *file) Flush(ctxt) syscall.Errno { return 0 }

// Fsync likewise.
func (f *file) Fsync(ctxt, uint32) syscall.Errno { return 0 }

// Release closes the file on the target.
func (f *file) Release(ctxt) syscall.Errno {
	f.close(f.handle)
	return 0
}

func (f *file) close(h wire.Handle) {
	if h != 0 {
		f.fs.remote.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{h}})
	}
}
