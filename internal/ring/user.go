package ring

import (
	"sync"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// UserMirror is memory that a tool maps in place of a user ring buffer: the
// tool produces, we consume on the kernel's behalf.
type UserMirror struct {
	mu   sync.Mutex // held while draining
	mem  []byte
	size int
	sent uint64
}

// NewUserMirror maps memory fd as a user ring buffer with size bytes of data.
func NewUserMirror(fd, size int) (*UserMirror, error) {
	if size <= 0 || size&(size-1) != 0 {
		return nil, unix.EINVAL
	}
	mem, err := mapAll(fd, RingbufMirrorSize(size))
	if err != nil {
		return nil, err
	}
	return &UserMirror{mem: mem, size: size}, nil
}

// maxDrain is how many bytes of records are passed on at once.
const maxDrain = 1 << 20

// Drain passes new records on, with send, which returns how far the kernel has
// consumed. What cannot be sent now is tried again.
func (u *UserMirror) Drain(send func([]byte) (uint64, error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mem == nil {
		return
	}
	data := u.mem[2*sys.PageSize:]
	end := sys.Load64(u.mem, sys.PageSize)
	var b []byte
	pos := u.sent
	for pos < end {
		off := int(pos & uint64(u.size-1))
		length := sys.Load32(data, off)
		n := recordSize(length)
		if length&ringbufBusy != 0 || n > u.size || pos+uint64(n) > end || len(b) > 0 && len(b)+n > maxDrain {
			break
		}
		// A record that crosses the end goes on behind it.
		b = append(b, data[off:off+n]...)
		pos += uint64(n)
	}
	consumed, err := send(b)
	if err != nil {
		return
	}
	u.sent = pos
	sys.Store64(u.mem, 0, consumed)
}

// Close unmaps the memory.
func (u *UserMirror) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	mem := u.mem
	u.mem = nil
	return unix.Munmap(mem)
}
