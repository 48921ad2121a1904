package tracee

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Descriptors looks up descriptors of threads, one call after another. Of a
// thread that it is asked of twice in a row it keeps the directory open, which
// saves a third of a look-up. The zero value is ready; it is for one goroutine.
type Descriptors struct {
	thread Thread
	dir    int // of thread's descriptors
	open   bool
}

// Lookup says what the descriptor fd of t refers to.
func (d *Descriptors) Lookup(t Thread, fd int) (Identity, error) {
	if t != d.thread {
		d.Close()
		d.thread = t
		return t.Descriptor(fd)
	}
	if !d.open {
		var b [48]byte
		dir, err := unix.Open(string(t.appendFDs(b[:0])), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return t.Descriptor(fd)
		}
		d.dir, d.open = dir, true
	}
	var b [24]byte
	id, err := identify(d.dir, append(strconv.AppendInt(b[:0], int64(fd), 10), 0))
	if err != nil { // perhaps t's number is another thread's by now
		d.Close()
		return t.Descriptor(fd)
	}
	return id, nil
}

// Close closes the directory that is kept open; d can still be used.
func (d *Descriptors) Close() {
	if d.open {
		unix.Close(d.dir)
		d.open = false
	}
}
