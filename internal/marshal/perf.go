package marshal

import (
	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// Offsets in struct perf_event_attr, include/uapi/linux/perf_event.h.
const (
	perfType    = 0
	perfSize    = 4
	perfConfig  = 8
	perfPeriod  = 16
	perfFlags   = 40
	perfWakeup  = 48
	perfConfig1 = 56
	// perfMin is PERF_ATTR_SIZE_VER0, which a size of 0 stands for.
	perfMin = 64
)

// PerfEvent is what a tool asked perf_event_open(2) for.
type PerfEvent struct {
	Attr []byte
	Path string // of a uprobe, or the symbol of a kprobe
	PID  int32
}

// watermark is the bit of struct perf_event_attr's flags by that name.
const watermark = 1 << 14

// PerfEventOpen marshals perf_event_open(attr, pid, cpu, group_fd, flags). edit
// may change the event before it goes out, or refuse it.
func (m *Marshaller) PerfEventOpen(mem Memory, objs Objects, args [6]uint64, edit func(*PerfEvent) unix.Errno) (*Request, unix.Errno) {
	var head [8]byte
	if mem.ReadAt(args[0], head[:]) != nil {
		return nil, unix.EFAULT
	}
	size := le.Uint32(head[perfSize:])
	if size < perfMin || size > maxAttr {
		// 0 stands for the smallest. Of a size that cannot be, the kernel
		// looks at nothing else: it answers with the one that it knows.
		size = perfMin
	}
	ev := PerfEvent{Attr: make([]byte, size), PID: int32(args[1])}
	if mem.ReadAt(args[0], ev.Attr) != nil {
		return nil, unix.EFAULT
	}
	r := &Request{Name: "perf_event_open", m: m, mem: mem, objs: objs, Result: &Object{Handle: m.NewHandle()}}
	if e := r.probe(&ev); e != 0 {
		return nil, e
	}
	gather(ev.Attr)
	r.counter = !isOutput(ev.Attr)
	if edit != nil {
		if e := edit(&ev); e != 0 {
			return nil, e
		}
	}
	r.Call = wire.Call{Sys: wire.SysPerfEventOpen, Result: r.Result.Handle, Flags: wire.CallSlow,
		Args: []uint64{0, uint64(ev.PID), args[2], args[3], args[4]}}
	attr := r.addBuf(wire.Buf{Flags: wire.BufIn, Len: uint32(len(ev.Attr)), In: ev.Attr})
	r.point(wire.PatchArg, 0, attr)
	r.sizeBack(attr, args[0])
	r.fields, r.first = abi.PerfAttr, 1
	if ev.Path != "" {
		r.strings = map[int]bool{len(r.Call.Bufs): true}
		r.point(attr, perfConfig1, r.addBuf(wire.Buf{Flags: wire.BufIn, Len: uint32(len(ev.Path) + 1), In: []byte(ev.Path)}))
	}
	r.fdArg(3)
	if args[4]&unix.PERF_FLAG_PID_CGROUP != 0 {
		r.fdArg(1)
	}
	return r, 0
}

// sizeBack has the size of an attribute copied back, which the kernel corrects
// when it does not know some of it (perf_copy_attr).
func (r *Request) sizeBack(buf int, addr uint64) {
	b := &r.Call.Bufs[buf]
	b.Flags |= wire.BufOut
	r.Call.Flags |= wire.CallKeepOnError
	r.outputs = append(r.outputs, output{addr: addr, size: b.Len, buf: buf, onError: true, only: []span{{perfSize, 4}}})
}

// probe reads the string that config1 of a kprobe or uprobe points to.
func (r *Request) probe(ev *PerfEvent) unix.Errno {
	t := le.Uint32(ev.Attr[perfType:])
	p := le.Uint64(ev.Attr[perfConfig1:])
	if t == 0 || p == 0 || t != r.m.Target.KprobePMU && t != r.m.Target.UprobePMU {
		return 0
	}
	s, err := r.mem.String(p)
	if err == unix.ENAMETOOLONG {
		return unix.E2BIG // perf_kprobe_init, perf_uprobe_init
	}
	if err != nil {
		return unix.EFAULT
	}
	ev.Path = s
	return 0
}

// gatherBytes of records wake the daemon: a quarter of a page.
const gatherBytes = 1024

// gather has the kernel wake the daemon for a quarter of a page of records
// instead of for each one, which costs the traced process more than the record
// does. The daemon looks at the ring on a short timer as well.
func gather(attr []byte) {
	if !isOutput(attr) {
		return
	}
	flags := le.Uint64(attr[perfFlags:])
	wakeup := le.Uint32(attr[perfWakeup:]) // in events, or in bytes with the bit
	if flags&watermark == 0 && wakeup <= 1 || flags&watermark != 0 && wakeup > 0 && wakeup < gatherBytes {
		le.PutUint64(attr[perfFlags:], flags|watermark)
		le.PutUint32(attr[perfWakeup:], gatherBytes)
	}
}

// isOutput says whether an event is one of records that programs write.
func isOutput(attr []byte) bool {
	return le.Uint32(attr[perfType:]) == unix.PERF_TYPE_SOFTWARE && le.Uint64(attr[perfConfig:]) == unix.PERF_COUNT_SW_BPF_OUTPUT
}

// fdArg translates an argument that is a descriptor.
func (r *Request) fdArg(i int) *Object {
	n := int32(r.Call.Args[i])
	if n < 0 {
		return nil
	}
	h, o := r.resolve(n)
	if h == 0 {
		r.Call.Args[i] = badFD
		return nil
	}
	r.Call.Patches = append(r.Call.Patches, wire.Patch{Kind: wire.PatchFD, Buf: wire.PatchArg, Off: uint32(i), Ref: uint32(h)})
	return o
}

// maxQuery is BPF_TRACE_MAX_PROGS, the most programs of an event.
const maxQuery = 64

// PerfIoctl marshals ioctl(fd, request, arg) on a perf event of ours.
func (m *Marshaller) PerfIoctl(mem Memory, objs Objects, args [6]uint64) (*Request, unix.Errno) {
	nr := uint32(args[1])
	row, ok := abi.PerfIoctls[nr]
	if !ok {
		m.warnOnce("the tool uses ioctl %#x on a perf event, which bpfctl does not know", nr)
		return nil, unix.ENOTTY
	}
	r := &Request{Name: "ioctl " + row.Name, m: m, mem: mem, objs: objs}
	r.Call = wire.Call{Sys: wire.SysIoctl, Args: []uint64{args[0], uint64(abi.RequestFor(nr, row, m.Target.WordSize)), args[2]}}
	r.Object = r.fdArg(0)
	return r, r.ioctlArg(&row, args[2])
}

func (r *Request) ioctlArg(row *abi.Ioctl, arg uint64) unix.Errno {
	size := row.Size
	var b wire.Buf
	switch row.Arg {
	case abi.ArgNone, abi.ArgScalar:
		return 0
	case abi.ArgFD:
		r.fdArg(2)
		return 0
	case abi.ArgStr:
		var e unix.Errno
		if b, e = r.str(arg); e != 0 {
			return e
		}
	case abi.ArgQuery, abi.ArgAttr:
		var head [8]byte
		if r.mem.ReadAt(arg, head[:]) != nil {
			return unix.EFAULT
		}
		size = le.Uint32(head[4:])
		if size < perfMin || size > maxAttr {
			size = perfMin // see PerfEventOpen
		}
		if row.Arg == abi.ArgQuery {
			size = 8 // struct perf_event_query_bpf, of more ids than are allowed
			if n := le.Uint32(head[:]); n <= maxQuery {
				size += 4 * n
			}
		}
		b = wire.Buf{Flags: wire.BufIn, Len: size}
	case abi.ArgIn:
		b = wire.Buf{Flags: wire.BufIn, Len: size}
	case abi.ArgOut:
		b = wire.Buf{Len: size}
	}
	if b.Flags&wire.BufIn != 0 && b.In == nil {
		b.In = make([]byte, size)
		if r.mem.ReadAt(arg, b.In) != nil {
			return unix.EFAULT
		}
	}
	if row.Arg == abi.ArgOut || row.Arg == abi.ArgQuery {
		b.Flags |= wire.BufOut
		r.outputs = append(r.outputs, output{addr: arg, size: size, buf: len(r.Call.Bufs), partial: true})
		r.Call.Flags |= wire.CallKeepOnError
	}
	buf := r.addBuf(b)
	r.point(wire.PatchArg, 2, buf)
	if row.Arg == abi.ArgAttr {
		r.sizeBack(buf, arg)
	}
	return 0
}
