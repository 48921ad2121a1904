// Package supervisor answers a tool's system calls from a target: it finds the
// row of a call, marshals it, has the target run it, and hands over the result.
package supervisor

import (
	"encoding/binary"

	"bpfd/internal/notify"
	"bpfd/internal/tracee"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// request is a trapped call and the thread that waits for its answer.
type request struct {
	notify.Call
	thread tracee.Thread
	near   *tracee.Descriptors // nil away from the thread that receives calls
}

// Descriptor says what the caller's descriptor fd refers to.
func (r *request) Descriptor(fd int) (tracee.Identity, error) {
	if r.near != nil {
		return r.near.Lookup(r.thread, fd)
	}
	return r.thread.Descriptor(fd)
}

// answer is what becomes of a trapped call.
type answer struct {
	val   int64
	errno unix.Errno
	cont  bool // the kernel runs it as the tool made it
}

var resume = answer{cont: true}

func value(v int64) answer     { return answer{val: v} }
func fail(e unix.Errno) answer { return answer{errno: e} }

// linkLost is the answer when the target is gone.
func linkLost() answer { return fail(unix.EIO) }

// fromErrno is the answer that the target gave.
func fromErrno(errno uint32) answer { return answer{errno: unix.Errno(errno)} }
