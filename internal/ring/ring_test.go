package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// kernelRing is memory in the form of a BPF ring buffer, into which a test
// produces as kernel/bpf/ringbuf.c does.
type kernelRing struct {
	fd   int
	mem  []byte
	size int
	pos  uint64
}

func newKernelRing(t *testing.T, size int) *kernelRing {
	t.Helper()
	fd, err := unix.MemfdCreate("ring", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	mem, err := mapAll(fd, RingbufMirrorSize(size))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return &kernelRing{fd: fd, mem: mem, size: size}
}

// put writes a record; flags are bits of its length word. It returns where that is.
func (k *kernelRing) put(b []byte, flags uint32) int {
	at := int(k.pos & uint64(k.size-1))
	record := binary.NativeEndian.AppendUint32(nil, uint32(len(b))|flags)
	record = append(append(record, make([]byte, 4)...), b...)
	for i, c := range record {
		off := (at + i) & (k.size - 1)
		k.mem[2*sys.PageSize+off], k.mem[2*sys.PageSize+k.size+off] = c, c
	}
	k.pos += uint64(recordSize(uint32(len(b))))
	sys.Store64(k.mem, sys.PageSize, k.pos)
	return 2*sys.PageSize + at
}

func next(t *testing.T, r Reader, max int) []byte {
	t.Helper()
	b, err := r.Next(nil, max)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A record that a program has reserved and not submitted stops the reader, and
// what is behind it with it; it goes on when the record is submitted.
func TestRingbufBusy(t *testing.T) {
	k := newKernelRing(t, 4096)
	r, err := OpenRingbuf(k.fd, k.size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	k.put([]byte("first"), 0)
	busy := k.put([]byte("second"), ringbufBusy)
	k.put([]byte("third"), 0)
	b := next(t, r, 4096)
	if len(b) != 16 || !bytes.Contains(b, []byte("first")) {
		t.Fatalf("before a busy record: %q", b)
	}
	r.Advance(len(b))
	if b = next(t, r, 4096); len(b) != 0 {
		t.Fatalf("a busy record is passed on: %q", b)
	}
	binary.NativeEndian.PutUint32(k.mem[busy:], 6|ringbufDiscard)
	b = next(t, r, 4096)
	if len(b) != 32 || !bytes.Contains(b, []byte("third")) {
		t.Fatalf("after it was discarded: %q", b)
	}
	r.Advance(len(b))
	if got := sys.Load64(k.mem, 0); got != k.pos {
		t.Errorf("consumed %d of %d", got, k.pos)
	}
}

// Records of many sizes go around a ring into a mirror and come out as they were.
func TestRingbufMirror(t *testing.T) {
	const size = 4096
	k, tool := newKernelRing(t, size), newKernelRing(t, size)
	r, err := OpenRingbuf(k.fd, size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m, err := NewRingbufMirror(tool.fd, size)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Size() != size {
		t.Fatalf("a mirror of %d bytes", m.Size())
	}
	consumed := uint64(0)
	for i := range 1000 {
		want := bytes.Repeat([]byte{byte(i)}, 1+i*37%4000)
		k.put(want, 0)
		b := next(t, r, 64)
		m.Write(b)
		r.Advance(len(b))
		// As a tool reads it: a record may cross the end of the first copy.
		if got := sys.Load64(tool.mem, sys.PageSize); got != consumed+uint64(len(b)) {
			t.Fatalf("record %d: produced %d, want %d", i, got, consumed+uint64(len(b)))
		}
		at := 2*sys.PageSize + int(consumed&(size-1))
		if n := sys.Load32(tool.mem, at); int(n) != len(want) || !bytes.Equal(tool.mem[at+8:][:n], want) {
			t.Fatalf("record %d of %d bytes arrives as %d", i, len(want), n)
		}
		consumed += uint64(len(b))
		sys.Store64(tool.mem, 0, consumed)
		if m.Consumed() != m.Received {
			t.Fatalf("record %d: %d of %d consumed", i, m.Consumed(), m.Received)
		}
	}
}

// As many records as fit are taken at once, but one at least.
func TestRingbufMax(t *testing.T) {
	k := newKernelRing(t, 4096)
	r, err := OpenRingbuf(k.fd, k.size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 4 {
		k.put(make([]byte, 92), 0) // 100 bytes, rounded up to 104
	}
	for _, c := range []struct{ max, want int }{{0, 104}, {103, 104}, {207, 104}, {208, 208}, {4096, 416}} {
		if got := len(next(t, r, c.max)); got != c.want {
			t.Errorf("of at most %d bytes %d are taken, want %d", c.max, got, c.want)
		}
	}
}

// A record that is longer than what was produced is an error, not a crash.
func TestCorrupt(t *testing.T) {
	k := newKernelRing(t, 4096)
	r, err := OpenRingbuf(k.fd, k.size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := k.put(make([]byte, 8), 0)
	binary.NativeEndian.PutUint32(k.mem[at:], 1<<29)
	if _, err := r.Next(nil, 4096); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want %v", err, ErrCorrupt)
	}
	for _, size := range []int{0, -1, 5000} {
		if _, err := OpenRingbuf(k.fd, size); !errors.Is(err, unix.EINVAL) {
			t.Errorf("a ring of %d bytes: %v, want EINVAL", size, err)
		}
	}
}

// A tool's records leave a user ring in order; one it has not submitted stops them.
func TestUserMirror(t *testing.T) {
	tool := newKernelRing(t, 4096)
	u, err := NewUserMirror(tool.fd, 4096)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	send := func(b []byte) (uint64, error) {
		got = append(got, b...)
		return uint64(len(got)), nil
	}
	for i := range 100 {
		tool.put(bytes.Repeat([]byte{byte(i)}, 1+i*11%500), 0)
		before := len(got)
		u.Drain(send)
		if n := int(tool.pos) - before; len(got)-before != n || got[before+8] != byte(i) {
			t.Fatalf("record %d: %d bytes, want %d", i, len(got)-before, n)
		}
		if c := sys.Load64(tool.mem, 0); c != tool.pos {
			t.Fatalf("record %d: consumed %d, want %d", i, c, tool.pos)
		}
	}
	at := tool.put([]byte("later"), ringbufBusy)
	before := len(got)
	if u.Drain(send); len(got) != before {
		t.Error("a busy record was sent")
	}
	// What cannot be sent is sent the next time.
	binary.NativeEndian.PutUint32(tool.mem[at:], 5)
	u.Drain(func([]byte) (uint64, error) { return 0, unix.ENOSPC })
	if u.Drain(send); len(got) != before+16 {
		t.Errorf("%d bytes were sent after a failure, want 16", len(got)-before)
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	u.Drain(func([]byte) (uint64, error) { t.Error("a closed ring is drained"); return 0, nil })
}

// Who reads with a smaller size than the ring has gets an error, or less at a
// time, and never reads beyond what it was told.
func TestRingbufSmallerSize(t *testing.T) {
	for _, size := range []int{1, 8, 1024, sys.PageSize + 8} {
		if _, err := OpenRingbuf(newKernelRing(t, 4*sys.PageSize).fd, size); !errors.Is(err, unix.EINVAL) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	open := func(length, count int) Reader {
		k := newKernelRing(t, 16*sys.PageSize)
		for range count {
			k.put(make([]byte, length), 0)
		}
		r, err := OpenRingbuf(k.fd, sys.PageSize)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	if _, err := open(4*sys.PageSize, 1).Next(nil, 1<<20); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a record that is larger than the ring: %v", err)
	}
	if b := next(t, open(56, 1000), 1<<20); len(b) > sys.PageSize || len(b) == 0 {
		t.Errorf("%d bytes of a ring of %d", len(b), sys.PageSize)
	}
}
