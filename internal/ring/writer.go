package ring

import (
	"errors"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// Writer produces into a BPF_MAP_TYPE_USER_RINGBUF, in which user space is the
// producer and the kernel the consumer.
type Writer struct {
	consumer []byte // page with the consumer position
	producer []byte // page with the producer position, then the data twice
	size     int
}

// OpenWriter maps the user ring buffer fd, whose data area has size bytes.
func OpenWriter(fd, size int) (*Writer, error) {
	if size < sys.PageSize || size&(size-1) != 0 {
		return nil, unix.EINVAL
	}
	consumer, err := unix.Mmap(fd, 0, sys.PageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	producer, err := unix.Mmap(fd, int64(sys.PageSize), sys.PageSize+2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Munmap(consumer)
		return nil, err
	}
	return &Writer{consumer: consumer, producer: producer, size: size}, nil
}

// Consumed is how far the kernel has read.
func (w *Writer) Consumed() uint64 { return sys.LoadWord(w.consumer, 0) }

// Append writes whole records with their headers. ENOSPC means that the kernel
// has not consumed enough of what is there.
func (w *Writer) Append(b []byte) error {
	pos := sys.LoadWord(w.producer, 0)
	if pos-w.Consumed()+uint64(len(b)) > uint64(w.size) {
		return unix.ENOSPC
	}
	off := sys.PageSize + int(pos&uint64(w.size-1))
	copy(w.producer[off:], b)
	sys.StoreWord(w.producer, 0, pos+uint64(len(b)))
	return nil
}

// Close unmaps the ring.
func (w *Writer) Close() error {
	return errors.Join(unix.Munmap(w.consumer), unix.Munmap(w.producer))
}
