package agent

import (
	"encoding/binary"
	"sync"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// mapping is a mapped descriptor and what the host was last told of it.
type mapping struct {
	mem      []byte
	shadow   []byte
	readOnly bool
}

// memoryTable holds the mappings of a session.
type memoryTable struct {
	mu  sync.Mutex // protects following
	all map[wire.Handle]*mapping
}

func (t *memoryTable) get(h wire.Handle, fd, size int) (*mapping, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.all[h]; m != nil && len(m.mem) == size {
		return m, nil
	} else if m != nil {
		return nil, unix.EINVAL
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	readOnly := err == unix.EPERM || err == unix.EACCES // frozen, or BPF_F_RDONLY
	if readOnly {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, err
	}
	if t.all == nil {
		t.all = make(map[wire.Handle]*mapping)
	}
	m := &mapping{mem: mem, shadow: make([]byte, size), readOnly: readOnly}
	t.all[h] = m
	return m, nil
}

func (t *memoryTable) close(h wire.Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.all[h]; m != nil {
		unix.Munmap(m.mem)
		delete(t.all, h)
	}
}

func (t *memoryTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h, m := range t.all {
		unix.Munmap(m.mem)
		delete(t.all, h)
	}
}

// maxMapped bounds a mapping that a host may ask for.
const maxMapped = 64 << 20

// syncMemory applies the host's changes and returns the target's.
func (s *session) syncMemory(req *wire.Memory) *wire.MemoryReply {
	fd, err := s.fds.mappable(req.Handle)
	if err != nil {
		return &wire.MemoryReply{Errno: errno(err)}
	}
	if req.Size == 0 {
		s.memory.close(req.Handle) // to be mapped anew
		return &wire.MemoryReply{}
	}
	if req.Size%8 != 0 || req.Size > maxMapped {
		return &wire.MemoryReply{Errno: uint32(unix.EINVAL)}
	}
	m, err := s.memory.get(req.Handle, fd, int(req.Size))
	if err != nil {
		return &wire.MemoryReply{Errno: errno(err)}
	}
	if m.readOnly && len(req.Words) > 0 {
		return &wire.MemoryReply{Errno: uint32(unix.EPERM)}
	}
	for _, w := range req.Words {
		m.change(w)
	}
	return &wire.MemoryReply{Runs: m.changes()}
}

// change adds what the host did to a word to what the target did meanwhile.
func (m *mapping) change(w wire.Word) {
	off := int(w.Off)
	for {
		cur := sys.Load64(m.mem, off)
		next := w.New
		if cur != w.Old {
			next = cur + (w.New - w.Old)
		}
		if sys.CompareAndSwap64(m.mem, off, cur, next) {
			// The host has made this change itself; what else is new about
			// the word is what differs from it.
			binary.NativeEndian.PutUint64(m.shadow[off:], w.New)
			return
		}
	}
}

// maxChanges is how many bytes of changes one reply tells, and how large it may
// get with what says where they are.
const maxChanges = 4 << 20

// changes returns what differs from the shadow, which it brings up to date. What
// is more than a reply holds is left for the next one.
func (m *mapping) changes() []wire.Run {
	var runs []wire.Run
	for off, n := 0, 0; off < len(m.mem) && n < maxChanges; off += 8 {
		v := sys.Load64(m.mem, off)
		if v == binary.NativeEndian.Uint64(m.shadow[off:]) {
			continue
		}
		n += 8
		binary.NativeEndian.PutUint64(m.shadow[off:], v)
		if n := len(runs); n > 0 && int(runs[n-1].Off)+len(runs[n-1].Bytes) == off {
			runs[n-1].Bytes = m.shadow[runs[n-1].Off : off+8]
		} else {
			runs = append(runs, wire.Run{Off: uint32(off), Bytes: m.shadow[off : off+8]})
		}
	}
	return runs
}
