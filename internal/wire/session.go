package wire

// SessionID names a session across connections. The zero value asks for a new
// session.
type SessionID [16]byte

// Hello is the first frame from the host. Received and the session's name let
// a session go on over a new connection: both sides count the frames that they
// receive, and the sender repeats what the other has not got.
type Hello struct {
	Version  uint16
	Session  SessionID
	Received uint64 // frames received in this session so far
	Lease    uint32 // seconds that the session may outlive its connection
	Software string // for messages to users
}

// Append implements Message.
func (h *Hello) Append(b []byte) []byte {
	b = le.AppendUint16(b, h.Version)
	b = append(b, h.Session[:]...)
	b = le.AppendUint64(b, h.Received)
	b = le.AppendUint32(b, h.Lease)
	return appendBytes(b, h.Software)
}

// Decode reads a hello.
func (h *Hello) Decode(b []byte) error {
	d := decoder{b: b}
	h.Version = d.u16()
	copy(h.Session[:], d.take(16))
	h.Received = d.u64()
	h.Lease = d.u32()
	h.Software = d.string()
	return d.end()
}

// Welcome is the target's answer to a Hello.
type Welcome struct {
	Version  uint16
	Session  SessionID
	Received uint64
	Software string
	Info     Info
}

// Append implements Message.
func (w *Welcome) Append(b []byte) []byte {
	b = le.AppendUint16(b, w.Version)
	b = append(b, w.Session[:]...)
	b = le.AppendUint64(b, w.Received)
	b = appendBytes(b, w.Software)
	return w.Info.Append(b)
}

// Decode reads a welcome.
func (w *Welcome) Decode(b []byte) error {
	d := decoder{b: b}
	w.Version = d.u16()
	copy(w.Session[:], d.take(16))
	w.Received = d.u64()
	w.Software = d.string()
	w.Info.decode(&d)
	return d.end()
}

// Info says what the target is. Clocks are nanoseconds, read together.
type Info struct {
	Arch       string // as Go spells it: amd64, arm64, arm, riscv64
	Sysname    string // uname(2)
	Nodename   string
	Release    string
	Version    string
	Machine    string
	Domain     string
	WordSize   uint8 // bytes of a pointer in the daemon
	PageSize   uint32
	Possible   string // /sys/devices/system/cpu/possible
	Online     string // /sys/devices/system/cpu/online
	BootID     string // /proc/sys/kernel/random/boot_id
	Pid        uint32 // of the daemon, which stands in for the tool
	UID        uint32 // effective
	Caps       uint64 // effective capabilities
	Realtime   int64
	Monotonic  int64
	Boottime   int64
	Executable string   // the daemon's own file
	Triggers   []uint64 // file offsets in it of the functions that TypeTrigger runs
}

func (i *Info) strings() []*string {
	return []*string{&i.Arch, &i.Sysname, &i.Nodename, &i.Release, &i.Version, &i.Machine,
		&i.Domain, &i.Possible, &i.Online, &i.BootID, &i.Executable}
}

// Append implements Message.
func (i *Info) Append(b []byte) []byte {
	for _, s := range i.strings() {
		b = appendBytes(b, *s)
	}
	b = append(b, i.WordSize)
	b = le.AppendUint32(b, i.PageSize)
	b = le.AppendUint32(b, i.Pid)
	b = le.AppendUint32(b, i.UID)
	b = le.AppendUint64(b, i.Caps)
	for _, t := range []int64{i.Realtime, i.Monotonic, i.Boottime} {
		b = le.AppendUint64(b, uint64(t))
	}
	b = le.AppendUint32(b, uint32(len(i.Triggers)))
	for _, t := range i.Triggers {
		b = le.AppendUint64(b, t)
	}
	return b
}

func (i *Info) decode(d *decoder) {
	for _, s := range i.strings() {
		*s = d.string()
	}
	i.WordSize = d.u8()
	i.PageSize = d.u32()
	i.Pid = d.u32()
	i.UID = d.u32()
	i.Caps = d.u64()
	for _, t := range []*int64{&i.Realtime, &i.Monotonic, &i.Boottime} {
		*t = int64(d.u64())
	}
	i.Triggers = make([]uint64, d.count(8))
	for k := range i.Triggers {
		i.Triggers[k] = d.u64()
	}
}

// Decode reads an info.
func (i *Info) Decode(b []byte) error {
	d := decoder{b: b}
	i.decode(&d)
	return d.end()
}

// Ack says how many frames its sender has received in this session.
type Ack struct{ Received uint64 }

// Append implements Message.
func (a *Ack) Append(b []byte) []byte { return le.AppendUint64(b, a.Received) }

// Decode reads an ack.
func (a *Ack) Decode(b []byte) error {
	d := decoder{b: b}
	a.Received = d.u64()
	return d.end()
}

// Close drops descriptors. Those the target does not have are passed over.
type Close struct{ Handles []Handle }

// Append implements Message.
func (c *Close) Append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(len(c.Handles)))
	for _, h := range c.Handles {
		b = le.AppendUint32(b, uint32(h))
	}
	return b
}

// Decode reads a close.
func (c *Close) Decode(b []byte) error {
	d := decoder{b: b}
	c.Handles = make([]Handle, d.count(4))
	for i := range c.Handles {
		c.Handles[i] = Handle(d.u32())
	}
	return d.end()
}

// Trigger asks the daemon's main thread to call one of Info.Triggers, by index.
type Trigger struct{ Index uint32 }

// Append implements Message.
func (t *Trigger) Append(b []byte) []byte { return le.AppendUint32(b, t.Index) }

// Decode reads a trigger.
func (t *Trigger) Decode(b []byte) error {
	d := decoder{b: b}
	t.Index = d.u32()
	return d.end()
}

// Status is the reply to requests that return nothing but an error, and the
// body of TypeEnd.
type Status struct{ Errno uint32 }

// Append implements Message.
func (s *Status) Append(b []byte) []byte { return le.AppendUint32(b, s.Errno) }

// Decode reads a status.
func (s *Status) Decode(b []byte) error {
	d := decoder{b: b}
	s.Errno = d.u32()
	return d.end()
}
