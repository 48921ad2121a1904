package supervisor

import (
	"sync"
	"time"

	"bpfd/internal/ring"
	"bpfd/internal/rpc"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// userTick is how often a user ring buffer is looked at between calls.
const userTick = 5 * time.Millisecond

// userRings forward what a tool produces into BPF_MAP_TYPE_USER_RINGBUF maps.
type userRings struct {
	target *rpc.Client
	added  chan struct{}

	mu  sync.Mutex // protects following
	all map[*object]*ring.UserMirror
}

func newUserRings(target *rpc.Client) *userRings {
	return &userRings{target: target, added: make(chan struct{}, 1), all: make(map[*object]*ring.UserMirror)}
}

// mapUserRing makes the placeholder's memory a ring that the tool produces into.
func (s *Supervisor) mapUserRing(o *object) error {
	u := s.userRings
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[o] != nil {
		return nil
	}
	m, err := ring.NewUserMirror(o.memfd, int(o.Map.MaxEntries))
	if err != nil {
		return err
	}
	u.all[o] = m
	select {
	case u.added <- struct{}{}:
	default:
	}
	return nil
}

// flush sends the records which the tool has submitted; it says whether there
// are rings at all.
func (u *userRings) flush() bool {
	u.mu.Lock()
	if len(u.all) == 0 {
		u.mu.Unlock()
		return false
	}
	list := make(map[*object]*ring.UserMirror, len(u.all))
	for o, m := range u.all {
		list[o] = m
	}
	u.mu.Unlock()
	for o, m := range list {
		m.Drain(func(b []byte) (uint64, error) {
			var reply wire.WriteRingReply
			err := u.target.Do(wire.TypeWriteRing, &wire.WriteRing{Handle: o.Handle, Size: o.Map.MaxEntries, Bytes: b}, &reply)
			if err == nil && reply.Errno != 0 {
				err = unix.Errno(reply.Errno)
			}
			return reply.Consumed, err
		})
	}
	return len(list) > 0
}

// run forwards records until stop is closed.
func (u *userRings) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-u.added:
		}
		for u.flush() {
			select {
			case <-stop:
				return
			case <-time.After(userTick):
			}
		}
	}
}

// remove forgets the ring of an object that is gone.
func (u *userRings) remove(o *object) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if m := u.all[o]; m != nil {
		m.Close()
		delete(u.all, o)
	}
}
