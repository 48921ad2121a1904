package supervisor

import (
	"sync"
	"time"

	"bpfd/internal/rpc"
	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// arrayTick is how old the tool's view of a mapped array may get.
const arrayTick = 20 * time.Millisecond

// maxArray is the largest array that is kept in step, in bytes: a bpfd maps no
// more.
const maxArray = 64 << 20

// arrayState is a mmapable array that the tool has mapped: a libbpf program's
// .data, .bss or .rodata. The tool, the target and the shadow of what both had
// last are merged word by word.
type arrayState struct {
	mu     sync.Mutex // held during a merge
	o      *object
	all    *arrays
	mem    []byte
	shadow []byte
}

// arrays keeps the mapped arrays in step with the target.
type arrays struct {
	target *rpc.Client
	added  chan struct{}

	mu  sync.Mutex // protects following
	all map[*arrayState]bool
}

func newArrays(target *rpc.Client) *arrays {
	return &arrays{target: target, added: make(chan struct{}, 1), all: make(map[*arrayState]bool)}
}

// open maps size bytes of the object's memfd and fills them from the target.
func (a *arrays) open(o *object, size int) error {
	size = (size + 7) &^ 7
	if o.array.Load() != nil {
		return nil
	}
	if err := unix.Ftruncate(o.memfd, int64(size)); err != nil {
		return err
	}
	mem, err := unix.Mmap(o.memfd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	st := &arrayState{o: o, all: a, mem: mem, shadow: make([]byte, size)}
	if err := st.merge(true); err != nil {
		unix.Munmap(mem)
		return err
	}
	o.array.Store(st)
	a.mu.Lock()
	a.all[st] = true
	a.mu.Unlock()
	select {
	case a.added <- struct{}{}:
	default:
	}
	return nil
}

const (
	// maxWords are sent at once, and sent again while there are more.
	maxWords = 64 << 10
	// fullReply is of which size on a target may have more to tell: it leaves
	// for the next time what does not fit.
	fullReply = 4 << 20
)

// merge sends what the tool has changed. It asks for what the target has
// changed if the tool has changed something, or if pull is set.
func (st *arrayState) merge(pull bool) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	for at := 0; st.mem != nil; {
		req := wire.Memory{Handle: st.o.Handle, Size: uint32(len(st.mem))}
		for ; at < len(st.mem) && len(req.Words) < maxWords; at += 8 {
			if old, v := le.Uint64(st.shadow[at:]), sys.Load64(st.mem, at); old != v {
				req.Words = append(req.Words, wire.Word{Off: uint32(at), Old: old, New: v})
				le.PutUint64(st.shadow[at:], v)
			}
		}
		if !pull && len(req.Words) == 0 {
			return nil
		}
		got, err := st.exchange(&req)
		if err != nil {
			return err
		}
		if at >= len(st.mem) && got < fullReply {
			return nil
		}
	}
	return nil
}

// exchange sends words and applies what the target says of its own; it returns
// how many bytes that were.
func (st *arrayState) exchange(req *wire.Memory) (int, error) {
	var reply wire.MemoryReply
	if err := st.all.target.Do(wire.TypeMemory, req, &reply); err != nil {
		return 0, err
	}
	if reply.Errno != 0 {
		return 0, unix.Errno(reply.Errno)
	}
	n := 0
	for _, run := range reply.Runs {
		st.apply(run)
		n += len(run.Bytes)
	}
	return n, nil
}

// apply takes over the target's words, on top of what the tool did meanwhile.
func (st *arrayState) apply(run wire.Run) {
	for i := 0; i+8 <= len(run.Bytes); i += 8 {
		off := int(run.Off) + i
		if off+8 > len(st.mem) {
			return
		}
		v := le.Uint64(run.Bytes[i:])
		for {
			cur := sys.Load64(st.mem, off)
			next := v + (cur - le.Uint64(st.shadow[off:]))
			if sys.CompareAndSwap64(st.mem, off, cur, next) {
				le.PutUint64(st.shadow[off:], v)
				break
			}
		}
	}
}

func (st *arrayState) close() {
	st.all.mu.Lock()
	delete(st.all.all, st)
	st.all.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	unix.Munmap(st.mem)
	st.mem = nil
}

// flush sends what the tool has changed, before a call of the tool that may
// depend on it; with pull it also fetches what the target has changed.
func (a *arrays) flush(pull bool) bool {
	a.mu.Lock()
	if len(a.all) == 0 {
		a.mu.Unlock()
		return false
	}
	list := make([]*arrayState, 0, len(a.all))
	for st := range a.all {
		list = append(list, st)
	}
	a.mu.Unlock()
	for _, st := range list {
		st.merge(pull)
	}
	return len(list) > 0
}

// run keeps the arrays in step until stop is closed.
func (a *arrays) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-a.added:
		}
		for a.flush(true) {
			select {
			case <-stop:
				return
			case <-time.After(arrayTick):
			}
		}
	}
}
