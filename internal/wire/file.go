package wire

// Attr is what stat(2) says of a file, in our own layout. Mode holds the
// S_IFMT and permission bits, which are the same everywhere.
type Attr struct {
	Mode, Nlink, UID, GID uint32
	Ino, Dev, Rdev        uint64
	Size                  uint64
	Atime, Mtime, Ctime   int64 // nanoseconds since 1970
}

func (a *Attr) append(b []byte) []byte {
	for _, v := range []uint32{a.Mode, a.Nlink, a.UID, a.GID} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint64{a.Ino, a.Dev, a.Rdev, a.Size, uint64(a.Atime), uint64(a.Mtime), uint64(a.Ctime)} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func (d *decoder) attr() (a Attr) {
	a.Mode, a.Nlink, a.UID, a.GID = d.u32(), d.u32(), d.u32(), d.u32()
	a.Ino, a.Dev, a.Rdev, a.Size = d.u64(), d.u64(), d.u64(), d.u64()
	a.Atime, a.Mtime, a.Ctime = int64(d.u64()), int64(d.u64()), int64(d.u64())
	return a
}

// Path is the body of TypeStat, TypeReadlink, TypeReadDir and TypeStatfs.
type Path struct {
	Path   string
	Follow bool // Stat: a last symbolic link; ReadDir: return attributes too
}

// Append implements Message.
func (p *Path) Append(b []byte) []byte { return appendBool(appendBytes(b, p.Path), p.Follow) }

// Decode reads a path.
func (p *Path) Decode(b []byte) error {
	d := decoder{b: b}
	p.Path = d.string()
	p.Follow = d.bool()
	return d.end()
}

// StatReply answers TypeStat.
type StatReply struct {
	Errno uint32
	Attr  Attr
}

// Append implements Message.
func (s *StatReply) Append(b []byte) []byte { return s.Attr.append(le.AppendUint32(b, s.Errno)) }

// Decode reads a reply.
func (s *StatReply) Decode(b []byte) error {
	d := decoder{b: b}
	s.Errno = d.u32()
	s.Attr = d.attr()
	return d.end()
}

// BytesReply answers TypeReadlink and TypeRead. A read of no bytes and no
// error is the end of the file.
type BytesReply struct {
	Errno uint32
	Bytes []byte
}

// Append implements Message.
func (r *BytesReply) Append(b []byte) []byte {
	return appendBytes(le.AppendUint32(b, r.Errno), r.Bytes)
}

// Decode reads a reply; Bytes shares memory with b.
func (r *BytesReply) Decode(b []byte) error {
	d := decoder{b: b}
	r.Errno = d.u32()
	r.Bytes = d.bytes()
	return d.end()
}

// Entry is a file in a directory. Type is the S_IFMT part of its mode.
type Entry struct {
	Name string
	Type uint32
	Ino  uint64
	Attr *Attr // only if asked for, and if the file could be examined
}

// ReadDirReply answers TypeReadDir, without "." and "..".
type ReadDirReply struct {
	Errno   uint32
	Entries []Entry
}

// Append implements Message.
func (r *ReadDirReply) Append(b []byte) []byte {
	b = le.AppendUint32(b, r.Errno)
	b = le.AppendUint32(b, uint32(len(r.Entries)))
	for _, e := range r.Entries {
		b = appendBytes(b, e.Name)
		b = le.AppendUint32(b, e.Type)
		b = le.AppendUint64(b, e.Ino)
		b = appendBool(b, e.Attr != nil)
		if e.Attr != nil {
			b = e.Attr.append(b)
		}
	}
	return b
}

// Decode reads a reply.
func (r *ReadDirReply) Decode(b []byte) error {
	d := decoder{b: b}
	r.Errno = d.u32()
	r.Entries = make([]Entry, d.count(4+4+8+1))
	for i := range r.Entries {
		e := Entry{Name: d.string(), Type: d.u32(), Ino: d.u64()}
		if d.bool() {
			a := d.attr()
			e.Attr = &a
		}
		r.Entries[i] = e
	}
	return d.end()
}

// OpenFlags are open(2) flags, by our own numbers.
type OpenFlags uint16

const (
	OpenRead OpenFlags = 1 << iota
	OpenWrite
	OpenAppend
	OpenCreate
	OpenExclusive
	OpenTruncate
	OpenDirectory
	OpenNoFollow
	OpenPath // O_PATH
	openAll  = 1<<iota - 1
)

// Open opens a file under a handle. Snapshot asks for its first bytes at once;
// a file which ends within them is not kept open.
type Open struct {
	Result   Handle
	Flags    OpenFlags
	Mode     uint32
	Snapshot uint32 // bytes
	Path     string
}

// Append implements Message.
func (o *Open) Append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(o.Result))
	b = le.AppendUint16(b, uint16(o.Flags))
	b = le.AppendUint32(b, o.Mode)
	b = le.AppendUint32(b, o.Snapshot)
	return appendBytes(b, o.Path)
}

// Decode reads an open.
func (o *Open) Decode(b []byte) error {
	d := decoder{b: b}
	o.Result = Handle(d.u32())
	o.Flags = OpenFlags(d.u16())
	if o.Flags&^openAll != 0 {
		d.fail(errFlags)
	}
	o.Mode, o.Snapshot = d.u32(), d.u32()
	o.Path = d.string()
	return d.end()
}

// OpenReply answers TypeOpen. EOF says that Bytes is the whole file and that
// no handle is kept.
type OpenReply struct {
	Errno uint32
	EOF   bool
	Attr  Attr
	Bytes []byte
}

// Append implements Message.
func (o *OpenReply) Append(b []byte) []byte {
	b = appendBool(le.AppendUint32(b, o.Errno), o.EOF)
	return appendBytes(o.Attr.append(b), o.Bytes)
}

// Decode reads a reply; Bytes shares memory with b.
func (o *OpenReply) Decode(b []byte) error {
	d := decoder{b: b}
	o.Errno = d.u32()
	o.EOF = d.bool()
	o.Attr = d.attr()
	o.Bytes = d.bytes()
	return d.end()
}

// NoOffset as Off reads or writes at the file's own position.
const NoOffset = -1

// Read reads from a handle. It waits where read(2) would, until TypeCancel.
type Read struct {
	Handle Handle
	Off    int64
	Len    uint32
}

// Append implements Message.
func (r *Read) Append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Handle))
	b = le.AppendUint64(b, uint64(r.Off))
	return le.AppendUint32(b, r.Len)
}

// Decode reads a read.
func (r *Read) Decode(b []byte) error {
	d := decoder{b: b}
	r.Handle = Handle(d.u32())
	r.Off = int64(d.u64())
	r.Len = d.u32()
	return d.end()
}

// Write writes to a handle.
type Write struct {
	Handle Handle
	Off    int64
	Bytes  []byte
}

// Append implements Message.
func (w *Write) Append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(w.Handle))
	b = le.AppendUint64(b, uint64(w.Off))
	return appendBytes(b, w.Bytes)
}

// Decode reads a write; Bytes shares memory with b.
func (w *Write) Decode(b []byte) error {
	d := decoder{b: b}
	w.Handle = Handle(d.u32())
	w.Off = int64(d.u64())
	w.Bytes = d.bytes()
	return d.end()
}

// WriteReply answers TypeWrite.
type WriteReply struct {
	Errno uint32
	Count uint32
}

// Append implements Message.
func (w *WriteReply) Append(b []byte) []byte {
	return le.AppendUint32(le.AppendUint32(b, w.Errno), w.Count)
}

// Decode reads a reply.
func (w *WriteReply) Decode(b []byte) error {
	d := decoder{b: b}
	w.Errno, w.Count = d.u32(), d.u32()
	return d.end()
}

// Op is a change to the file system.
type Op uint8

const (
	OpUnlink   Op = iota + 1 // unlink(2)
	OpRmdir                  // rmdir(2)
	OpMkdir                  // mkdir(2); Arg is the mode
	OpRename                 // rename(2) to Path2
	OpSymlink                // symlink(2): Path2 is the text of the link
	OpChmod                  // chmod(2); Arg is the mode
	OpTruncate               // truncate(2); Arg is the size
	OpMountBPF               // mount(2) of a bpf file system at Path
	OpAccess                 // access(2); Arg is the mode
	opEnd
)

// PathOp changes the file system. The reply is a Status.
type PathOp struct {
	Op    Op
	Path  string
	Path2 string
	Arg   uint64
}

// Append implements Message.
func (p *PathOp) Append(b []byte) []byte {
	b = append(b, byte(p.Op))
	b = appendBytes(appendBytes(b, p.Path), p.Path2)
	return le.AppendUint64(b, p.Arg)
}

// Decode reads a path operation.
func (p *PathOp) Decode(b []byte) error {
	d := decoder{b: b}
	p.Op = Op(d.u8())
	if p.Op == 0 || p.Op >= opEnd {
		d.fail(errSys)
	}
	p.Path, p.Path2 = d.string(), d.string()
	p.Arg = d.u64()
	return d.end()
}

// StatfsReply answers TypeStatfs with the fields of statfs(2).
type StatfsReply struct {
	Errno                                        uint32
	Type, Bsize, Blocks, Bfree, Bavail           uint64
	Files, Ffree, Namelen, Frsize, Flags, FsidLo uint64
}

func (s *StatfsReply) words() []*uint64 {
	return []*uint64{&s.Type, &s.Bsize, &s.Blocks, &s.Bfree, &s.Bavail,
		&s.Files, &s.Ffree, &s.Namelen, &s.Frsize, &s.Flags, &s.FsidLo}
}

// Append implements Message.
func (s *StatfsReply) Append(b []byte) []byte {
	b = le.AppendUint32(b, s.Errno)
	for _, w := range s.words() {
		b = le.AppendUint64(b, *w)
	}
	return b
}

// Decode reads a reply.
func (s *StatfsReply) Decode(b []byte) error {
	d := decoder{b: b}
	s.Errno = d.u32()
	for _, w := range s.words() {
		*w = d.u64()
	}
	return d.end()
}
