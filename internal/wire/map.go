package wire

// Walk asks for the entries of a map after a key, which the target finds with
// BPF_MAP_GET_NEXT_KEY and BPF_MAP_LOOKUP_ELEM or their batch form.
type Walk struct {
	Map       Handle
	KeySize   uint32
	ValueSize uint32 // bytes that a lookup returns; 0: keys only
	Max       uint32 // entries
	After     []byte // empty: from the first
}

// Append implements Message.
func (w *Walk) Append(b []byte) []byte {
	for _, v := range []uint32{uint32(w.Map), w.KeySize, w.ValueSize, w.Max} {
		b = le.AppendUint32(b, v)
	}
	return appendBytes(b, w.After)
}

// Decode reads a walk.
func (w *Walk) Decode(b []byte) error {
	d := decoder{b: b}
	w.Map = Handle(d.u32())
	w.KeySize, w.ValueSize, w.Max = d.u32(), d.u32(), d.u32()
	w.After = d.bytes()
	if n := len(w.After); n != 0 && uint32(n) != w.KeySize {
		d.fail(errBuf)
	}
	return d.end()
}

// WalkReply answers a Walk. Errno is 0 when the map goes on after these
// entries, ENOENT at its end, or what ended the walk.
type WalkReply struct {
	Errno  uint32
	Count  uint32
	Keys   []byte // Count keys
	Values []byte // Count values
}

// Append implements Message.
func (w *WalkReply) Append(b []byte) []byte {
	b = le.AppendUint32(b, w.Errno)
	b = le.AppendUint32(b, w.Count)
	b = appendBytes(b, w.Keys)
	return appendBytes(b, w.Values)
}

// Decode reads a reply; the slices share memory with b.
func (w *WalkReply) Decode(b []byte) error {
	d := decoder{b: b}
	w.Errno, w.Count = d.u32(), d.u32()
	w.Keys, w.Values = d.bytes(), d.bytes()
	return d.end()
}

// StreamKind says what a stream carries.
type StreamKind uint8

const (
	// StreamPerf carries the records of a perf event's ring buffer.
	StreamPerf StreamKind = iota + 1
	// StreamRingbuf carries the records of a BPF_MAP_TYPE_RINGBUF, with headers.
	StreamRingbuf
	// StreamPoll carries nothing and ends when the descriptor is readable: a
	// pidfd, when its process is gone.
	StreamPoll
	streamEnd
)

// Stream opens a stream over a descriptor. The target sends no more than
// Credit bytes until TypeCredit raises it.
type Stream struct {
	ID     uint32
	Kind   StreamKind
	Handle Handle
	Size   uint64 // bytes of the ring's data area, a power of two
	Credit uint64
}

// Append implements Message.
func (s *Stream) Append(b []byte) []byte {
	b = le.AppendUint32(b, s.ID)
	b = append(b, byte(s.Kind))
	b = le.AppendUint32(b, uint32(s.Handle))
	b = le.AppendUint64(b, s.Size)
	return le.AppendUint64(b, s.Credit)
}

// Decode reads a stream.
func (s *Stream) Decode(b []byte) error {
	d := decoder{b: b}
	s.ID = d.u32()
	s.Kind = StreamKind(d.u8())
	s.Handle = Handle(d.u32())
	s.Size, s.Credit = d.u64(), d.u64()
	if s.Kind == 0 || s.Kind >= streamEnd {
		d.fail(errSys)
	}
	return d.end()
}

// Credit lets a stream send until it has sent Total bytes since it was opened.
type Credit struct{ Total uint64 }

// Append implements Message.
func (c *Credit) Append(b []byte) []byte { return le.AppendUint64(b, c.Total) }

// Decode reads a credit.
func (c *Credit) Decode(b []byte) error {
	d := decoder{b: b}
	c.Total = d.u64()
	return d.end()
}

// Data carries bytes of a stream. Position counts the bytes sent before.
type Data struct {
	Position uint64
	Bytes    []byte
}

// Append implements Message.
func (m *Data) Append(b []byte) []byte {
	b = le.AppendUint64(b, m.Position)
	return append(b, m.Bytes...)
}

// Decode reads data; Bytes shares memory with b.
func (m *Data) Decode(b []byte) error {
	d := decoder{b: b}
	m.Position = d.u64()
	m.Bytes = d.take(uint32(len(d.b)))
	return d.end()
}

// Word is a change of 8 bytes in mapped memory.
type Word struct {
	Off      uint32 // a multiple of 8
	Old, New uint64
}

// Memory synchronises a copy of a descriptor's mapped memory (a mmapable
// array). A word which still holds Old becomes New; one that has changed
// meanwhile gets the difference added, so that counters lose nothing.
type Memory struct {
	Handle Handle
	Size   uint32 // bytes of the mapping; 0 drops it
	Words  []Word
}

const wordLen = 4 + 8 + 8

// Append implements Message.
func (m *Memory) Append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(m.Handle))
	b = le.AppendUint32(b, m.Size)
	b = le.AppendUint32(b, uint32(len(m.Words)))
	for _, w := range m.Words {
		b = le.AppendUint32(b, w.Off)
		b = le.AppendUint64(b, w.Old)
		b = le.AppendUint64(b, w.New)
	}
	return b
}

// Decode reads a memory request and checks that every word is inside.
func (m *Memory) Decode(b []byte) error {
	d := decoder{b: b}
	m.Handle = Handle(d.u32())
	m.Size = d.u32()
	m.Words = make([]Word, d.count(wordLen))
	for i := range m.Words {
		w := Word{Off: d.u32(), Old: d.u64(), New: d.u64()}
		if w.Off%8 != 0 || uint64(w.Off)+8 > uint64(m.Size) {
			d.fail(errPatch)
		}
		m.Words[i] = w
	}
	return d.end()
}

// Run is a stretch of changed memory.
type Run struct {
	Off   uint32
	Bytes []byte
}

// MemoryReply brings what has changed on the target since the last one.
type MemoryReply struct {
	Errno uint32
	Runs  []Run
}

// Append implements Message.
func (m *MemoryReply) Append(b []byte) []byte {
	b = le.AppendUint32(b, m.Errno)
	b = le.AppendUint32(b, uint32(len(m.Runs)))
	for _, r := range m.Runs {
		b = le.AppendUint32(b, r.Off)
		b = appendBytes(b, r.Bytes)
	}
	return b
}

// Decode reads a reply; the runs share memory with b.
func (m *MemoryReply) Decode(b []byte) error {
	d := decoder{b: b}
	m.Errno = d.u32()
	m.Runs = make([]Run, d.count(8))
	for i := range m.Runs {
		m.Runs[i] = Run{Off: d.u32(), Bytes: d.bytes()}
	}
	return d.end()
}

// WriteRing appends records, with their headers, to a
// BPF_MAP_TYPE_USER_RINGBUF whose data area has Size bytes.
type WriteRing struct {
	Handle Handle
	Size   uint32
	Bytes  []byte
}

// Append implements Message.
func (w *WriteRing) Append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(w.Handle))
	b = le.AppendUint32(b, w.Size)
	return appendBytes(b, w.Bytes)
}

// Decode reads the request; Bytes shares memory with b.
func (w *WriteRing) Decode(b []byte) error {
	d := decoder{b: b}
	w.Handle = Handle(d.u32())
	w.Size = d.u32()
	w.Bytes = d.bytes()
	return d.end()
}

// WriteRingReply says how far the kernel has consumed the ring, in bytes.
type WriteRingReply struct {
	Errno    uint32
	Consumed uint64
}

// Append implements Message.
func (w *WriteRingReply) Append(b []byte) []byte {
	b = le.AppendUint32(b, w.Errno)
	return le.AppendUint64(b, w.Consumed)
}

// Decode reads a reply.
func (w *WriteRingReply) Decode(b []byte) error {
	d := decoder{b: b}
	w.Errno = d.u32()
	w.Consumed = d.u64()
	return d.end()
}
