package wire

// Handle names a descriptor that the target keeps for the session. The host
// chooses the number, so that a call may refer to the result of one whose
// reply has not arrived yet. 0 names none.
type Handle uint32

// Sys is a system call, by our own number: the kernel's differ between
// architectures.
type Sys uint8

// The system calls that a target runs on request.
const (
	SysBPF              Sys = iota + 1 // bpf(2)
	SysPerfEventOpen                   // perf_event_open(2)
	SysIoctl                           // ioctl(2)
	SysPidfdOpen                       // pidfd_open(2)
	SysKill                            // kill(2)
	SysNameToHandle                    // name_to_handle_at(2)
	SysSchedGetaffinity                // sched_getaffinity(2)
	SysRead                            // read(2)
	SysPrlimit                         // prlimit64(2)
	sysEnd
)

// CallFlags say how a call is to be run.
type CallFlags uint8

const (
	// CallSlow lets the call run beside others: it may take long.
	CallSlow CallFlags = 1 << iota
	// CallKeepOnError returns the out-buffers even when the call failed.
	CallKeepOnError
	// CallDrain sends what is in the rings before the reply: the call may have
	// put it there.
	CallDrain
	callFlags = CallSlow | CallKeepOnError | CallDrain
)

// BufFlags say what becomes of a buffer.
type BufFlags uint8

const (
	BufIn  BufFlags = 1 << iota // its bytes are in the request
	BufOut                      // its bytes are returned, without the zeros at the end
	BufStr                      // with BufOut: only up to and with the first NUL
	bufAll = BufIn | BufOut | BufStr
)

// Buf is memory which the target lays out for a call.
type Buf struct {
	Flags BufFlags
	Len   uint32 // bytes; those of In are its beginning, zeros the rest
	In    []byte
}

// PatchKind says what a patch writes.
type PatchKind uint8

const (
	PatchPtr  PatchKind = iota + 1 // the address of buffer Ref, 8 bytes
	PatchFD                        // the number of descriptor Ref, 4 bytes
	PatchPath                      // in an argument only: descriptor Ref, or AT_FDCWD if 0
	patchEnd
)

// PatchArg as Buf of a patch means the argument with the number Off.
const PatchArg = 0xffff

// Patch says that at offset Off of buffer Buf stands something that only the
// target knows.
type Patch struct {
	Kind PatchKind
	Buf  uint16
	Off  uint32
	Ref  uint32
}

// Call asks for a system call. The reply's body is a CallReply.
type Call struct {
	Sys     Sys
	Flags   CallFlags
	Result  Handle // the returned descriptor is kept under this name; 0: it is a plain number
	Args    []uint64
	Bufs    []Buf
	Patches []Patch
}

const (
	bufMin   = 1 + 4 + 4
	patchLen = 1 + 2 + 4 + 4
	// MaxArgs is the number of arguments that a system call can have.
	MaxArgs = 6
)

// Append implements Message.
func (c *Call) Append(b []byte) []byte {
	b = append(b, byte(c.Sys), byte(c.Flags))
	b = le.AppendUint32(b, uint32(c.Result))
	b = append(b, byte(len(c.Args)))
	for _, a := range c.Args {
		b = le.AppendUint64(b, a)
	}
	b = le.AppendUint32(b, uint32(len(c.Bufs)))
	for _, f := range c.Bufs {
		b = append(b, byte(f.Flags))
		b = le.AppendUint32(b, f.Len)
		b = appendBytes(b, f.In)
	}
	b = le.AppendUint32(b, uint32(len(c.Patches)))
	for _, p := range c.Patches {
		b = append(b, byte(p.Kind))
		b = le.AppendUint16(b, p.Buf)
		b = le.AppendUint32(b, p.Off)
		b = le.AppendUint32(b, p.Ref)
	}
	return b
}

// Decode reads a call and checks that every patch lies inside its buffer.
// Buffers share memory with b.
func (c *Call) Decode(b []byte) error {
	d := decoder{b: b}
	c.Sys = Sys(d.u8())
	c.Flags = CallFlags(d.flags(uint8(callFlags)))
	c.Result = Handle(d.u32())
	n := int(d.u8())
	if n > MaxArgs {
		d.fail(errArgs)
		n = 0
	}
	c.Args = make([]uint64, n)
	for i := range c.Args {
		c.Args[i] = d.u64()
	}
	c.Bufs = make([]Buf, d.count(bufMin))
	for i := range c.Bufs {
		c.Bufs[i] = d.buf()
	}
	c.Patches = make([]Patch, d.count(patchLen))
	for i := range c.Patches {
		c.Patches[i] = Patch{Kind: PatchKind(d.u8()), Buf: d.u16(), Off: d.u32(), Ref: d.u32()}
	}
	if err := d.end(); err != nil {
		return err
	}
	return c.check()
}

func (d *decoder) buf() Buf {
	f := Buf{Flags: BufFlags(d.flags(uint8(bufAll))), Len: d.u32(), In: d.bytes()}
	if uint64(len(f.In)) > uint64(f.Len) || f.Flags&BufIn == 0 && len(f.In) > 0 {
		d.fail(errBuf)
	}
	return f
}

func (c *Call) check() error {
	if c.Sys == 0 || c.Sys >= sysEnd {
		return errSys
	}
	total := uint64(0)
	for _, f := range c.Bufs {
		total += uint64(f.Len)
	}
	if total > MaxCallMemory {
		return errBuf
	}
	for _, p := range c.Patches {
		if err := c.checkPatch(p); err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) checkPatch(p Patch) error {
	size := uint64(8)
	switch {
	case p.Kind == 0 || p.Kind >= patchEnd, p.Kind == PatchPath && p.Buf != PatchArg:
		return errPatch
	case p.Kind == PatchPtr && uint64(p.Ref) >= uint64(len(c.Bufs)):
		return errPatch
	case p.Kind == PatchFD:
		size = 4
	}
	if p.Buf == PatchArg {
		if uint64(p.Off) >= uint64(len(c.Args)) {
			return errPatch
		}
		return nil
	}
	if int(p.Buf) >= len(c.Bufs) || uint64(p.Off)+size > uint64(c.Bufs[p.Buf].Len) {
		return errPatch
	}
	return nil
}

// MaxCallMemory is the most memory that the buffers of one call may take on
// the target. Verifier logs are the largest buffers in practice: 16 MiB.
const MaxCallMemory = 64 << 20

// CallReply answers a Call.
type CallReply struct {
	Ret   int64  // what the call returned; -1 if it failed
	Errno uint32 // its error, 0 if there is none
	Link  string // if a descriptor was kept: what its link in /proc/self/fd says
	Out   [][]byte
}

// Append implements Message.
func (r *CallReply) Append(b []byte) []byte {
	b = le.AppendUint64(b, uint64(r.Ret))
	b = le.AppendUint32(b, r.Errno)
	b = appendBytes(b, r.Link)
	b = le.AppendUint32(b, uint32(len(r.Out)))
	for _, o := range r.Out {
		b = appendBytes(b, o)
	}
	return b
}

// Decode reads a reply; Out shares memory with b. Out holds one element per
// buffer with BufOut, in order, or none at all.
func (r *CallReply) Decode(b []byte) error {
	d := decoder{b: b}
	r.Ret = int64(d.u64())
	r.Errno = d.u32()
	r.Link = d.string()
	r.Out = make([][]byte, d.count(4))
	for i := range r.Out {
		r.Out[i] = d.bytes()
	}
	return d.end()
}
