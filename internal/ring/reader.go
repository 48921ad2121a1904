// Package ring knows the memory of the kernel's event rings: those of perf
// events (perf_event_open(2), struct perf_event_mmap_page) and of
// BPF_MAP_TYPE_RINGBUF (kernel/bpf/ringbuf.c). A Reader consumes a ring of the
// kernel; a Mirror is a ring of our own, which a tool consumes.
package ring

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// ErrCorrupt means that a ring holds a record which cannot be.
var ErrCorrupt = errors.New("the ring buffer holds a malformed record")

// Reader consumes a ring.
type Reader interface {
	// Next copies whole records into dst, which is returned: as many as fit
	// into max bytes, but one at least if there is any. It does not consume.
	Next(dst []byte, max int) ([]byte, error)
	// Advance consumes n bytes.
	Advance(n int)
	// Close unmaps the ring.
	Close() error
}

// copyOut appends n bytes from position pos of a ring's data area.
func copyOut(dst, data []byte, pos uint64, n int) []byte {
	off := int(pos & uint64(len(data)-1))
	first := min(n, len(data)-off)
	dst = append(dst, data[off:off+first]...)
	return append(dst, data[:n-first]...)
}

// Perf is the ring of a perf event.
type Perf struct {
	mem  []byte // control page and data
	data []byte
	tail uint64
}

// offsets in struct perf_event_mmap_page, include/uapi/linux/perf_event.h
const (
	perfDataHead   = 1024
	perfDataTail   = 1032
	perfDataOffset = 1040
	perfDataSize   = 1048
)

// perfHeader is the size of struct perf_event_header.
const perfHeader = 8

// OpenPerf maps the ring of perf event fd with size bytes of data.
func OpenPerf(fd, size int) (*Perf, error) {
	if size <= 0 || size&(size-1) != 0 {
		return nil, fmt.Errorf("a ring of %d bytes: %w", size, unix.EINVAL)
	}
	size = max(size, sys.PageSize)
	mem, err := unix.Mmap(fd, 0, sys.PageSize+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &Perf{mem: mem, data: mem[sys.PageSize:]}, nil
}

// Next implements Reader.
func (p *Perf) Next(dst []byte, max int) ([]byte, error) {
	head := sys.Load64(p.mem, perfDataHead)
	start := len(dst)
	var hdr [perfHeader]byte
	pos, n := p.tail, 0
	for pos < head {
		size := int(binary.NativeEndian.Uint16(copyOut(hdr[:0], p.data, pos, perfHeader)[6:]))
		if size < perfHeader || size > len(p.data) || pos+uint64(size) > head {
			return dst[:start], ErrCorrupt
		}
		if n > 0 && n+size > min(max, len(p.data)) {
			break
		}
		n += size
		pos += uint64(size)
	}
	return copyOut(dst, p.data, p.tail, n), nil
}

// Pending returns how many bytes of records the ring holds.
func (p *Perf) Pending() int { return int(sys.Load64(p.mem, perfDataHead) - p.tail) }

// Advance implements Reader.
func (p *Perf) Advance(n int) {
	p.tail += uint64(n)
	sys.Store64(p.mem, perfDataTail, p.tail)
}

// Close implements Reader.
func (p *Perf) Close() error { return unix.Munmap(p.mem) }

// Ringbuf is a BPF ring buffer.
type Ringbuf struct {
	consumer []byte // page with the consumer position
	producer []byte // page with the producer position, then the data twice
	data     []byte
	pos      uint64
}

// Bits in the length word of a record, include/uapi/linux/bpf.h.
const (
	ringbufBusy    = 1 << 31 // BPF_RINGBUF_BUSY_BIT
	ringbufDiscard = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
	ringbufHeader  = 8       // BPF_RINGBUF_HDR_SZ
)

// OpenRingbuf maps the BPF ring buffer fd, whose data area has size bytes.
func OpenRingbuf(fd, size int) (*Ringbuf, error) {
	if size < sys.PageSize || size&(size-1) != 0 {
		return nil, fmt.Errorf("a ring of %d bytes: %w", size, unix.EINVAL)
	}
	consumer, err := unix.Mmap(fd, 0, sys.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	producer, err := unix.Mmap(fd, int64(sys.PageSize), sys.PageSize+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		unix.Munmap(consumer)
		return nil, err
	}
	return &Ringbuf{consumer: consumer, producer: producer,
		data: producer[sys.PageSize : sys.PageSize+size], pos: sys.LoadWord(consumer, 0)}, nil
}

// recordSize is what a record with the length word takes in the ring.
func recordSize(length uint32) int {
	n := int(length&^(ringbufBusy|ringbufDiscard)) + ringbufHeader
	return (n + 7) &^ 7
}

// Next implements Reader: it stops at the first record that a program has
// reserved and not yet submitted.
func (r *Ringbuf) Next(dst []byte, max int) ([]byte, error) {
	start := len(dst)
	end := sys.LoadWord(r.producer, 0)
	pos, n := r.pos, 0
	for pos < end {
		length := sys.Load32(r.data, int(pos&uint64(len(r.data)-1)))
		if length&ringbufBusy != 0 {
			break
		}
		size := recordSize(length)
		if size > len(r.data) || pos+uint64(size) > end {
			return dst[:start], ErrCorrupt
		}
		if n > 0 && n+size > min(max, len(r.data)) {
			break
		}
		n += size
		pos += uint64(size)
	}
	return copyOut(dst, r.data, r.pos, n), nil
}

// Advance implements Reader.
func (r *Ringbuf) Advance(n int) {
	r.pos += uint64(n)
	sys.StoreWord(r.consumer, 0, r.pos)
}

// Close implements Reader.
func (r *Ringbuf) Close() error {
	return errors.Join(unix.Munmap(r.consumer), unix.Munmap(r.producer))
}
