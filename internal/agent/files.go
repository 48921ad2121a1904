package agent

import (
	"strconv"
	"strings"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// The requests on files. Only what a host cannot ask for by a generic call is
// here: flags and structures differ between architectures.

// openFlags translates wire.OpenFlags, without the access mode.
var openFlags = [...]struct {
	wire  wire.OpenFlags
	local int
}{
	{wire.OpenAppend, unix.O_APPEND},
	{wire.OpenCreate, unix.O_CREAT},
	{wire.OpenExclusive, unix.O_EXCL},
	{wire.OpenTruncate, unix.O_TRUNC},
	{wire.OpenDirectory, unix.O_DIRECTORY},
	{wire.OpenNoFollow, unix.O_NOFOLLOW},
	{wire.OpenPath, unix.O_PATH},
}

func localFlags(f wire.OpenFlags) int {
	// Reads that would wait are cancelled by polling: the descriptor must not block.
	flags := unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	switch {
	case f&wire.OpenRead != 0 && f&wire.OpenWrite != 0:
		flags |= unix.O_RDWR
	case f&wire.OpenWrite != 0:
		flags |= unix.O_WRONLY
	}
	for _, o := range openFlags {
		if f&o.wire != 0 {
			flags |= o.local
		}
	}
	return flags
}

func attr(st *unix.Stat_t) wire.Attr {
	return wire.Attr{
		Mode: uint32(st.Mode), Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid,
		Ino: uint64(st.Ino), Dev: uint64(st.Dev), Rdev: uint64(st.Rdev), Size: uint64(st.Size),
		Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

func (s *session) stat(req *wire.Path) *wire.StatReply {
	var st unix.Stat_t
	err := unix.Lstat(req.Path, &st)
	if req.Follow {
		err = unix.Stat(req.Path, &st)
	}
	if err != nil {
		return &wire.StatReply{Errno: errno(err)}
	}
	return &wire.StatReply{Attr: attr(&st)}
}

func (s *session) readlink(req *wire.Path) *wire.BytesReply {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlink(req.Path, b)
	if err != nil {
		return &wire.BytesReply{Errno: errno(err)}
	}
	return &wire.BytesReply{Bytes: b[:n]}
}

// readDir lists a directory, with attributes if req.Follow is set.
func (s *session) readDir(req *wire.Path) *wire.ReadDirReply {
	fd, err := unix.Open(req.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &wire.ReadDirReply{Errno: errno(err)}
	}
	defer unix.Close(fd)
	reply := &wire.ReadDirReply{}
	b := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, b)
		if err != nil {
			return &wire.ReadDirReply{Errno: errno(err)}
		}
		if n == 0 {
			return reply
		}
		reply.Entries = appendEntries(reply.Entries, b[:n], fd, req.Follow)
	}
}

// appendEntries parses struct linux_dirent64, getdents(2).
func appendEntries(list []wire.Entry, b []byte, dir int, attrs bool) []wire.Entry {
	const nameOff = 19
	for len(b) >= nameOff {
		size := int(b[16]) | int(b[17])<<8
		if size < nameOff || size > len(b) {
			break
		}
		name, _, _ := strings.Cut(string(b[nameOff:size]), "\x00")
		e := wire.Entry{Name: name, Type: uint32(b[18]) << 12}
		for i := range 8 {
			e.Ino |= uint64(b[i]) << (8 * i)
		}
		b = b[size:]
		if name == "." || name == ".." {
			continue
		}
		var st unix.Stat_t
		if attrs && unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			a := attr(&st)
			e.Attr = &a
		}
		list = append(list, e)
	}
	return list
}

// fdinfo is the path of what the kernel says of a handle's descriptor, which
// stands there as @HANDLE.
const fdinfo = "/proc/self/fdinfo/@"

func (s *session) resolve(path string) string {
	name, ok := strings.CutPrefix(path, fdinfo)
	if !ok {
		return path
	}
	h, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return path
	}
	if fd, ok := s.fds.get(wire.Handle(h)); ok {
		return "/proc/self/fdinfo/" + strconv.Itoa(fd)
	}
	return path
}

// open opens a file and reads its beginning, if asked to.
func (s *session) open(req *wire.Open) *wire.OpenReply {
	if req.Snapshot > wire.MaxBody/2 {
		return &wire.OpenReply{Errno: uint32(unix.EINVAL)}
	}
	fd, err := unix.Open(s.resolve(req.Path), localFlags(req.Flags), req.Mode)
	if err != nil {
		return &wire.OpenReply{Errno: errno(err)}
	}
	reply := &wire.OpenReply{}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		reply.Attr = attr(&st)
	}
	if req.Snapshot > 0 && st.Mode&unix.S_IFMT == unix.S_IFREG {
		reply.Bytes, reply.EOF, err = beginning(fd, int(req.Snapshot))
	}
	if err != nil {
		// A file that opens and cannot be read says so when it is read.
		reply.Bytes, reply.EOF = nil, false
	}
	if reply.EOF && req.Flags&wire.OpenWrite == 0 {
		unix.Close(fd)
		return reply
	}
	s.fds.put(req.Result, fd)
	s.files.put(req.Result, req.Path)
	return reply
}

// beginning reads up to n bytes; a file that would have to be waited for has none.
func beginning(fd, n int) (b []byte, eof bool, err error) {
	b, err = fill(fd, wire.NoOffset, n)
	switch {
	case err == unix.EAGAIN:
		return b, false, nil
	case err != nil:
		return nil, false, err
	}
	return b, len(b) < n, nil
}

// fill reads until it has n bytes or the file ends: sysfs gives no more than a
// page at a time. With an error it returns what it had read before.
func fill(fd int, off int64, n int) ([]byte, error) {
	b := make([]byte, 0, min(n, 64<<10))
	for len(b) < n {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		at := off
		if off != wire.NoOffset {
			at += int64(len(b))
		}
		m, err := readOnce(fd, b[len(b):min(cap(b), n)], at)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return b, err
		case m == 0:
			return b, nil
		}
		b = b[:len(b)+m]
	}
	return b, nil
}

// read reads from a handle, and waits until there is something or the host
// cancels the request. At an offset it fills the buffer, if the file is long
// enough.
func (s *session) read(id uint32, req *wire.Read) wire.Message {
	w := s.cancels.get(id)
	defer w.done()
	fd, ok := s.fds.get(req.Handle)
	if !ok {
		return &wire.BytesReply{Errno: uint32(unix.EBADF)}
	}
	n := int(min(req.Len, wire.MaxBody/2))
	if req.Off != wire.NoOffset {
		b, err := fill(fd, req.Off, n)
		if len(b) > 0 || err == nil {
			return &wire.BytesReply{Bytes: b}
		}
		if err != unix.EAGAIN {
			return &wire.BytesReply{Errno: errno(err)}
		}
	}
	b := make([]byte, min(n, maxRead))
	for {
		n, err := readOnce(fd, b, req.Off)
		if err == nil {
			return &wire.BytesReply{Bytes: b[:n]}
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			return &wire.BytesReply{Errno: errno(err)}
		}
		// Who waits does not count, or the request that cancels it might not
		// be served any more.
		s.leave()
		err = w.wait(fd)
		s.enter()
		if err != nil {
			return &wire.BytesReply{Errno: errno(err)}
		}
	}
}

// maxRead is how much is read at once from what has to be waited for.
const maxRead = 1 << 20

func readOnce(fd int, b []byte, off int64) (int, error) {
	if off == wire.NoOffset {
		return unix.Read(fd, b)
	}
	n, err := unix.Pread(fd, b, off)
	if err == unix.ESPIPE { // trace_pipe has no positions
		return unix.Read(fd, b)
	}
	return n, err
}

// writeFile writes with one system call: a line for a file of tracefs is one
// command.
func (s *session) writeFile(req *wire.Write) *wire.WriteReply {
	fd, ok := s.fds.get(req.Handle)
	if !ok {
		return &wire.WriteReply{Errno: uint32(unix.EBADF)}
	}
	write := func() (int, error) { return writeAt(fd, req.Bytes, req.Off) }
	var n int
	var err error
	if path, ok := s.files.get(req.Handle); ok {
		n, err = s.traces.define(path, write)
	} else {
		n, err = write()
	}
	if err != nil {
		return &wire.WriteReply{Errno: errno(err)}
	}
	return &wire.WriteReply{Count: uint32(n)}
}

// writeAt writes at an offset, or where the last write has ended: what else is
// at an offset of its own accord, as the lines of tracefs are, needs none.
func writeAt(fd int, b []byte, off int64) (int, error) {
	if off == wire.NoOffset {
		return unix.Write(fd, b)
	}
	return unix.Pwrite(fd, b, off)
}

// pathOps are the changes to the file system.
var pathOps = map[wire.Op]func(*wire.PathOp) error{
	wire.OpUnlink:   func(p *wire.PathOp) error { return unix.Unlink(p.Path) },
	wire.OpRmdir:    func(p *wire.PathOp) error { return unix.Rmdir(p.Path) },
	wire.OpMkdir:    func(p *wire.PathOp) error { return unix.Mkdir(p.Path, uint32(p.Arg)) },
	wire.OpRename:   func(p *wire.PathOp) error { return unix.Rename(p.Path, p.Path2) },
	wire.OpSymlink:  func(p *wire.PathOp) error { return unix.Symlink(p.Path2, p.Path) },
	wire.OpChmod:    func(p *wire.PathOp) error { return unix.Chmod(p.Path, uint32(p.Arg)) },
	wire.OpTruncate: func(p *wire.PathOp) error { return unix.Truncate(p.Path, int64(p.Arg)) },
	wire.OpAccess:   func(p *wire.PathOp) error { return unix.Access(p.Path, uint32(p.Arg)) },
	wire.OpMountBPF: func(p *wire.PathOp) error { return unix.Mount("bpf", p.Path, "bpf", 0, "mode=0700") },
}

func (s *session) pathOp(req *wire.PathOp) *wire.Status {
	err := pathOps[req.Op](req)
	if err == nil {
		switch req.Op {
		case wire.OpMkdir:
			s.traces.made(req.Path)
		case wire.OpRmdir:
			s.traces.removed(req.Path)
		}
	}
	return status(err)
}

func (s *session) statfs(req *wire.Path) *wire.StatfsReply {
	var st unix.Statfs_t
	if err := unix.Statfs(req.Path, &st); err != nil {
		return &wire.StatfsReply{Errno: errno(err)}
	}
	return &wire.StatfsReply{
		Type: uint64(uint32(st.Type)), Bsize: uint64(st.Bsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree, Namelen: uint64(st.Namelen), Frsize: uint64(st.Frsize), Flags: uint64(st.Flags),
		FsidLo: uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
	}
}
