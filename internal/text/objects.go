package text

import (
	"bpfd/internal/ring"

	"golang.org/x/sys/unix"
)

// firstFD is the number of a session's first object: files of commands carry
// program bytes that refer to it.
const firstFD = 3

// object is what a client knows by a number. The numbers are the session's, not
// the process's descriptors, of which the Go runtime takes some for itself; they
// are translated inside of instructions and of values that are descriptors.
type object struct {
	fd   int
	num  int
	m    *mapInfo   // set for a map
	ring *ring.Perf // set for a perf buffer
	lost uint64     // records that a perf buffer has lost
	perf bool       // a perf event or a perf buffer
}

// objects are the objects of a session by their numbers, less firstFD.
type objects struct{ all []*object }

// add takes over a descriptor, under the lowest number that is free, as open(2)
// does.
func (t *objects) add(o *object) int {
	i := 0
	for i < len(t.all) && t.all[i] != nil {
		i++
	}
	if i == len(t.all) {
		t.all = append(t.all, nil)
	}
	t.all[i] = o
	o.num = firstFD + i
	return o.num
}

// get returns the object with a number, nil if there is none.
func (t *objects) get(num int) *object {
	if i := num - firstFD; i >= 0 && i < len(t.all) {
		return t.all[i]
	}
	return nil
}

// fd returns the descriptor behind a number, or EBADF.
func (t *objects) fd(num int) (int, error) {
	o := t.get(num)
	if o == nil {
		return -1, unix.EBADF
	}
	return o.fd, nil
}

// mapOf returns the map with a number.
func (t *objects) mapOf(num int) (*object, error) {
	o := t.get(num)
	if o == nil || o.m == nil {
		return nil, errNoMap(num)
	}
	return o, nil
}

// close drops an object. A perf event's program is detached from it first:
// programs that others hold keep the event no longer than the descriptor.
func (t *objects) close(o *object) error {
	t.all[o.num-firstFD] = nil
	if o.ring != nil {
		o.ring.Close()
	}
	if o.perf {
		unix.IoctlSetInt(o.fd, unix.PERF_EVENT_IOC_DISABLE, 0)
	}
	return unix.Close(o.fd)
}

// closeAll drops every object, the newest first.
func (t *objects) closeAll() {
	for i := len(t.all) - 1; i >= 0; i-- {
		if t.all[i] != nil {
			t.close(t.all[i])
		}
	}
	t.all = nil
}
