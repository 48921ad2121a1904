package ring

import (
	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// Mirror is a ring in memory that a tool maps in place of the kernel's. We
// produce, the tool consumes.
type Mirror struct {
	mem      []byte
	data     []byte
	headOff  int // where the producer position is
	tailOff  int // where the consumer position is
	double   bool
	Received uint64 // bytes written since the beginning
}

// NewPerfMirror maps memory fd as the ring of a perf event with size bytes of
// data, after the page of struct perf_event_mmap_page.
func NewPerfMirror(fd, size int) (*Mirror, error) {
	mem, err := mapAll(fd, sys.PageSize+size)
	if err != nil {
		return nil, err
	}
	sys.Store64(mem, perfDataOffset, uint64(sys.PageSize))
	sys.Store64(mem, perfDataSize, uint64(size))
	return &Mirror{mem: mem, data: mem[sys.PageSize:], headOff: perfDataHead, tailOff: perfDataTail}, nil
}

// NewRingbufMirror maps memory fd as a BPF ring buffer with size bytes of
// data: consumer page, producer page, the data, and the data once more.
func NewRingbufMirror(fd, size int) (*Mirror, error) {
	mem, err := mapAll(fd, RingbufMirrorSize(size))
	if err != nil {
		return nil, err
	}
	return &Mirror{mem: mem, data: mem[2*sys.PageSize:], headOff: sys.PageSize, tailOff: 0, double: true}, nil
}

// RingbufMirrorSize is how much memory a mirror of size bytes of data takes.
func RingbufMirrorSize(size int) int { return 2*sys.PageSize + 2*size }

func mapAll(fd, size int) ([]byte, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Size of the data area in bytes.
func (m *Mirror) Size() int {
	if m.double {
		return len(m.data) / 2
	}
	return len(m.data)
}

// Consumed is how far the tool has read.
func (m *Mirror) Consumed() uint64 { return sys.Load64(m.mem, m.tailOff) }

// Write appends whole records, for which there must be space, and publishes them.
func (m *Mirror) Write(b []byte) {
	size := m.Size()
	off := int(m.Received & uint64(size-1))
	n := copy(m.data[off:size], b)
	rest := b[n:]
	copy(m.data[:size], rest)
	if m.double {
		// A record that crosses the end goes on behind it.
		copy(m.data[size:], rest)
	}
	m.Received += uint64(len(b))
	sys.Store64(m.mem, m.headOff, m.Received)
}

// Close unmaps the memory.
func (m *Mirror) Close() error { return unix.Munmap(m.mem) }
