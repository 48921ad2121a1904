// Package marshal turns a tool's call into a request to the target, by the
// rows of package abi and the tool's memory, and the reply into the tool's
// memory and a result.
package marshal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// Memory is a tool's memory.
type Memory interface {
	ReadAt(addr uint64, p []byte) error
	WriteAt(addr uint64, p []byte) error
	String(addr uint64) (string, error)
}

// MapInfo is what the size of a map's keys and values depends on.
type MapInfo struct {
	Type, KeySize, ValueSize, MaxEntries, Flags uint32
}

// Object is a descriptor on the target.
type Object struct {
	Handle wire.Handle
	Kind   abi.Kind
	Map    *MapInfo // of KindMap
	// Readable says that the tool may want to read(2) it.
	Readable bool
}

// Objects finds what a tool's descriptors stand for.
type Objects interface {
	// Object returns what one of our placeholders stands for, nil if fd is none.
	Object(fd int32) *Object
	// Foreign opens on the target what another descriptor of the tool refers
	// to there, a cgroup for one. False: the target has nothing like it.
	Foreign(fd int32) (wire.Handle, bool)
	// Other returns a descriptor on the target of a kind that no call wants,
	// if the tool has fd open: the kernel tells that from what is not open.
	Other(fd int32) (wire.Handle, bool)
	// LinkType asks the target for the type of a link, 0 if it does not say.
	LinkType(o *Object) uint32
}

// Target is what marshalling needs to know of the target.
type Target struct {
	CPUs     uint32 // possible ones
	WordSize int
	Version  uint32 // KERNEL_VERSION
	Arch     string // as Go spells it
	// Types of perf events whose config1 is a string.
	KprobePMU, UprobePMU uint32
}

// Marshaller marshals the calls of tools against one target.
type Marshaller struct {
	Target    Target
	NewHandle func() wire.Handle
	Warn      func(string)
	// KernelBTF returns the type information of the target's kernel if that is
	// what an object holds and if it is known, nil otherwise.
	KernelBTF func(*Object) []byte
	HostArch  string // as Go spells it
	// CompiledFor returns the architecture for which the tool with this memory
	// generates code, "" if that is not known.
	CompiledFor func(Memory) string
	// Translate has programs that were compiled for the host find arguments and
	// results where the target's calling convention of C has them.
	Translate bool

	mu     sync.Mutex // protects following
	warned map[string]bool
}

// warnOnce warns, the first time.
func (m *Marshaller) warnOnce(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	m.mu.Lock()
	said := m.warned[msg]
	if m.warned == nil {
		m.warned = make(map[string]bool)
	}
	m.warned[msg] = true
	m.mu.Unlock()
	if !said {
		m.Warn(msg)
	}
}

// output is a buffer to copy back.
type output struct {
	addr    uint64
	size    uint32
	text    bool // only what was returned
	onError bool // even if the call failed
	partial bool // even if it failed for want of room, or of more to say
	buf     int
	except  []span // pointers, which the target replaced by its own
	only    []span // if there are any, nothing else is copied
	// The kernel has written unit bytes for each that it counts in the u32 at
	// count of buffer parent. 0: all of it.
	unit          uint32
	parent, count int
}

// span is a part of a buffer.
type span struct{ off, size uint32 }

// Request is a call on its way.
type Request struct {
	Call wire.Call
	// Result is what a returned descriptor stands for, its kind by the reply.
	Result *Object
	// Row names the call for people.
	Name string
	// Object is the first descriptor of the call, nil if there is none.
	Object *Object

	// For Format: the fields of the first buffer, the first argument to be
	// printed, and which buffers are strings.
	fields  []abi.Field
	first   int
	strings map[int]bool

	m        *Marshaller
	mem      Memory
	objs     Objects
	outputs  []output
	counter  bool   // the result is a perf event whose count can be read
	returned bool   // the call returns how many bytes it has written
	known    []byte // is written to knownAt if the call succeeds
	knownAt  uint64
}

// badFD is a descriptor that no target has.
const badFD = 1 << 30

// addBuf adds a buffer and returns its index.
func (r *Request) addBuf(b wire.Buf) int {
	r.Call.Bufs = append(r.Call.Bufs, b)
	return len(r.Call.Bufs) - 1
}

// point has offset off of buffer buf point to buffer ref.
func (r *Request) point(buf int, off uint32, ref int) {
	r.Call.Patches = append(r.Call.Patches, wire.Patch{Kind: wire.PatchPtr, Buf: uint16(buf), Off: off, Ref: uint32(ref)})
}

// fd translates the descriptor at off of a buffer. 0 and negative numbers stay
// as they are unless 0 is a placeholder of ours.
func (r *Request) fd(buf int, off uint32) *Object {
	data := r.Call.Bufs[buf].In
	if int(off)+4 > len(data) {
		return nil
	}
	n := int32(le.Uint32(data[off:]))
	if n < 0 {
		return nil
	}
	h, o := r.resolve(n)
	switch {
	case h != 0:
		r.patchFD(buf, off, h)
	case n != 0:
		le.PutUint32(data[off:], badFD)
	}
	return o
}

func (r *Request) patchFD(buf int, off uint32, h wire.Handle) {
	r.Call.Patches = append(r.Call.Patches, wire.Patch{Kind: wire.PatchFD, Buf: uint16(buf), Off: off, Ref: uint32(h)})
}

// resolve returns the target's name for a descriptor, 0 if it has none.
func (r *Request) resolve(n int32) (wire.Handle, *Object) {
	if o := r.objs.Object(n); o != nil {
		return o.Handle, o
	}
	if n <= 0 {
		return 0, nil
	}
	if h, ok := r.objs.Foreign(n); ok {
		return h, nil
	}
	h, _ := r.objs.Other(n)
	return h, nil
}

// str reads a string. One that is longer than any which the kernel takes is cut
// where the kernel would still refuse it, or cut it as well.
func (r *Request) str(addr uint64) (wire.Buf, unix.Errno) {
	s, err := r.mem.String(addr)
	if err != nil && err != unix.ENAMETOOLONG {
		return wire.Buf{}, unix.EFAULT
	}
	if r.strings == nil {
		r.strings = make(map[int]bool)
	}
	r.strings[len(r.Call.Bufs)] = true // it is added next
	return wire.Buf{Flags: wire.BufIn, Len: uint32(len(s) + 1), In: []byte(s)}, 0
}

// maxMemory bounds the buffers of a call, in one direction: they must fit into
// a frame, with the rest of the call.
const maxMemory = wire.MaxBody - 64<<10

// fits refuses a call whose buffers do not fit into a frame.
func (r *Request) fits() unix.Errno {
	var in uint64
	for _, b := range r.Call.Bufs {
		in += uint64(len(b.In))
	}
	if in > maxMemory {
		return r.tooLong(in)
	}
	return 0
}

// tooLong says that a call's memory does not fit into a frame.
func (r *Request) tooLong(size uint64) unix.Errno {
	r.m.warnOnce("%s moves %d bytes, but one call can move no more than %d to the target and back; it fails with E2BIG", r.Name, size, maxMemory)
	return unix.E2BIG
}

// Finish writes what the call returned into the tool's memory.
func (r *Request) Finish(reply *wire.CallReply) (int64, unix.Errno) {
	errno := unix.Errno(reply.Errno)
	failed := errno
	if size := r.outSize(); failed == unix.EMSGSIZE && size > maxMemory {
		return 0, r.tooLong(size)
	}
	room := failed == unix.ENOENT || failed == unix.ENOSPC
	for k := range r.outputs[:min(len(r.outputs), len(reply.Out))] {
		o := &r.outputs[k]
		if failed != 0 && !o.onError && !(o.partial && room) {
			continue
		}
		if failed != 0 && o.text && len(bytes.Trim(reply.Out[k], "\x00")) == 0 {
			continue // a call that fails before there is a log leaves it as it is
		}
		if r.copyOut(o, reply.Out[k], r.written(o, reply)) != nil && errno == 0 {
			errno = unix.EFAULT
		}
	}
	if errno == 0 && r.known != nil && r.finishBTF() != nil {
		errno = unix.EFAULT
	}
	if errno != 0 {
		return 0, errno
	}
	if r.Result != nil {
		r.Result.Kind = abi.KindOf(reply.Link)
		r.Result.Readable = r.counter || r.Result.Kind == abi.KindIter
	}
	return reply.Ret, 0
}

func (r *Request) outSize() (n uint64) {
	for i := range r.outputs {
		n += uint64(r.outputs[i].size)
	}
	return n
}

// written returns how many bytes of an output the kernel has written.
func (r *Request) written(o *output, reply *wire.CallReply) uint32 {
	if r.returned {
		return uint32(min(int64(o.size), max(reply.Ret, 0)))
	}
	for k := range r.outputs {
		if o.unit != 0 && r.outputs[k].buf == o.parent && k < len(reply.Out) {
			var n [4]byte // zeros at the end were not sent
			if parent := reply.Out[k]; o.count < len(parent) {
				copy(n[:], parent[o.count:])
			}
			return uint32(min(uint64(o.size), uint64(le.Uint32(n[:]))*uint64(o.unit)))
		}
	}
	return o.size
}

// copyOut writes the first size bytes of an output.
func (r *Request) copyOut(o *output, data []byte, size uint32) error {
	if o.text {
		return r.mem.WriteAt(o.addr, data[:min(len(data), int(o.size))])
	}
	full := make([]byte, size)
	copy(full, data)
	sent := r.Call.Bufs[o.buf].In
	for _, f := range o.except {
		if int(f.off+f.size) <= len(full) && int(f.off+f.size) <= len(sent) {
			copy(full[f.off:f.off+f.size], sent[f.off:])
		}
	}
	if o.only == nil {
		return r.mem.WriteAt(o.addr, full)
	}
	for _, f := range o.only {
		if f.off+f.size > uint32(min(len(full), len(sent))) {
			continue
		}
		now := full[f.off : f.off+f.size]
		if bytes.Equal(now, sent[f.off:f.off+f.size]) {
			continue
		}
		if err := r.mem.WriteAt(o.addr+uint64(f.off), now); err != nil {
			return err
		}
	}
	return nil
}
