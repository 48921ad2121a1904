package supervisor

import (
	"sync"
	"time"

	"bpfd/internal/ring"
	"bpfd/internal/rpc"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// ringState is a ring that the tool has mapped.
type ringState struct {
	o        *object
	rings    *rings
	mirror   *ring.Mirror
	stream   uint32
	mu       sync.Mutex // protects following
	closed   bool
	credited uint64
}

// Data implements rpc.Stream.
func (r *ringState) Data(d wire.Data) {
	r.mu.Lock()
	if !r.closed {
		r.mirror.Write(d.Bytes)
	}
	r.mu.Unlock()
	r.rings.objects.wake(r.o)
	r.rings.poke()
}

// End implements rpc.Stream.
func (r *ringState) End(unix.Errno) { r.rings.objects.wake(r.o) }

// pending says whether the tool has something to consume.
func (r *ringState) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.closed && r.mirror.Consumed() < r.mirror.Received
}

// settle returns the credit to give, and whether the tool has consumed all.
func (r *ringState) settle() (total uint64, give, idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, false, true
	}
	consumed := r.mirror.Consumed()
	total = consumed + uint64(r.mirror.Size())
	idle = consumed >= r.mirror.Received
	give = total-r.credited >= uint64(r.mirror.Size())/4 || idle && total > r.credited
	if give {
		r.credited = total
	}
	return total, give, idle
}

func (r *ringState) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.rings.remove(r)
		r.mirror.Close()
	}
}

// rings gives the target credit as the tool consumes, which the tool does in
// its own memory, without a word to anybody.
type rings struct {
	objects *registry
	target  *rpc.Client
	busy    chan struct{} // something was received

	mu  sync.Mutex // protects following
	all map[*ringState]bool
}

func newRings(objects *registry, target *rpc.Client) *rings {
	return &rings{objects: objects, target: target, busy: make(chan struct{}, 1), all: make(map[*ringState]bool)}
}

func (r *rings) poke() {
	select {
	case r.busy <- struct{}{}:
	default:
	}
}

func (r *rings) remove(st *ringState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, st)
}

// open connects a mirror with the target's ring.
func (r *rings) open(o *object, kind wire.StreamKind, m *ring.Mirror) error {
	st := &ringState{o: o, rings: r, mirror: m, credited: uint64(m.Size())}
	o.ring.Store(st)
	id, err := r.target.OpenStream(wire.Stream{Kind: kind, Handle: o.Handle, Size: uint64(m.Size()), Credit: st.credited}, st)
	if err != nil {
		o.ring.Store(nil)
		m.Close()
		return err
	}
	r.mu.Lock()
	st.stream = id
	r.all[st] = true
	r.mu.Unlock()
	r.poke()
	return nil
}

const (
	// ringTick is how often consumption is looked at while there is some.
	ringTick = time.Millisecond
	// rewake is after how many ticks a tool that has not consumed all is
	// woken again: the kernel's BPF ring buffer is level triggered.
	rewake = 20
)

// run gives credit until stop is closed.
func (r *rings) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-r.busy:
		}
		for n := 1; !r.settle(n%rewake == 0); n++ {
			select {
			case <-stop:
				return
			case <-time.After(ringTick):
			}
		}
	}
}

// settle gives credit for what was consumed; it says whether all was.
func (r *rings) settle(wake bool) bool {
	r.mu.Lock()
	list := make([]*ringState, 0, len(r.all))
	for st := range r.all {
		list = append(list, st)
	}
	r.mu.Unlock()
	all := true
	for _, st := range list {
		total, give, idle := st.settle()
		if give {
			r.target.Credit(st.stream, total)
		}
		if !idle {
			all = false
			if wake {
				r.objects.wake(st.o)
			}
		}
	}
	return all
}
