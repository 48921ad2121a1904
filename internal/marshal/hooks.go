package marshal

import (
	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// hook does for a command what the fields of its row do not say.
func (r *Request) hook(cmd uint32, row *abi.Command, info *MapInfo) unix.Errno {
	attr := r.Call.Bufs[attrBuf].In
	switch {
	case row.Hook == abi.ProgLoad:
		return r.progLoad(attr)
	case row.Hook == abi.Info:
		return r.info(attr)
	case row.Hook == abi.LinkCreate && field(attr, 8) == unix.BPF_TRACE_ITER:
		return r.iterInfo()
	case row.Hook == abi.LinkCreate:
		return r.symbols(attr)
	case row.Hook == abi.Stream:
		r.returned = true
	case cmd == abi.BPF_MAP_CREATE:
		r.Result.Map = &MapInfo{Type: field(attr, 0), KeySize: field(attr, 4), ValueSize: field(attr, 8),
			MaxEntries: field(attr, 12), Flags: field(attr, 16)}
	case cmd == abi.BPF_TASK_FD_QUERY:
		return r.taskFD(attr)
	case info != nil:
		return r.values(cmd, attr, info)
	}
	return 0
}

// pointed returns the buffer that the field at off of the attributes points
// to, -1 if there is none.
func (r *Request) pointed(off uint32) int {
	for _, p := range r.Call.Patches {
		if p.Kind == wire.PatchPtr && p.Buf == attrBuf && p.Off == off {
			return int(p.Ref)
		}
	}
	return -1
}

// Instructions with descriptors in them, include/uapi/linux/bpf.h.
const (
	insnSize       = 8
	opLoadImm64    = 0x18 // BPF_LD | BPF_IMM | BPF_DW
	opCall         = 0x85 // BPF_JMP | BPF_CALL
	pseudoMapFD    = 1    // BPF_PSEUDO_MAP_FD
	pseudoMapValue = 2    // BPF_PSEUDO_MAP_VALUE
	pseudoIdx      = 5    // BPF_PSEUDO_MAP_IDX
	pseudoIdxValue = 6    // BPF_PSEUDO_MAP_IDX_VALUE
	pseudoKfunc    = 2    // BPF_PSEUDO_KFUNC_CALL
)

// progLoad translates the descriptors inside of instructions and of fd_array.
func (r *Request) progLoad(attr []byte) unix.Errno {
	insns := r.pointed(8)
	if insns < 0 {
		return 0
	}
	code := r.Call.Bufs[insns].In
	entries := int(field(attr, 148)) // fd_array_cnt
	for off := 0; off+insnSize <= len(code); off += insnSize {
		src := code[off+1] >> 4
		switch {
		case code[off] == opLoadImm64 && (src == pseudoMapFD || src == pseudoMapValue):
			r.fd(insns, uint32(off+4))
		case code[off] == opLoadImm64 && (src == pseudoIdx || src == pseudoIdxValue):
			entries = max(entries, int(le.Uint32(code[off+4:]))+1)
		case code[off] == opCall && src == pseudoKfunc:
			entries = max(entries, int(le.Uint16(code[off+2:]))+1)
		}
		if code[off] == opLoadImm64 {
			off += insnSize // its second half
		}
	}
	if e := r.registers(attr, code); e != 0 {
		return e
	}
	r.kernelVersion(attr)
	return r.fdArray(attr, entries)
}

// kernelVersion makes the version that old kernels compare with their own
// right: tools take it from the host's vDSO or from headers.
func (r *Request) kernelVersion(attr []byte) {
	if r.m.Target.Version < 5<<16 && field(attr, 0) == unix.BPF_PROG_TYPE_KPROBE && len(attr) >= 44 {
		le.PutUint32(attr[40:], r.m.Target.Version)
	}
}

// maxFDArray bounds the entries of fd_array that are translated: those that
// the 15 bits of a call to a kernel function reach, and some.
const maxFDArray = 64 << 10

// fdArray translates the array of maps and BTF objects that instructions refer to.
func (r *Request) fdArray(attr []byte, entries int) unix.Errno {
	if len(attr) < 128 || le.Uint64(attr[120:]) == 0 || entries == 0 {
		return 0
	}
	if entries > maxFDArray {
		return unix.E2BIG
	}
	data := make([]byte, 4*entries)
	if r.mem.ReadAt(le.Uint64(attr[120:]), data) != nil {
		return unix.EFAULT
	}
	buf := r.addBuf(wire.Buf{Flags: wire.BufIn, Len: uint32(len(data)), In: data})
	r.point(attrBuf, 120, buf)
	r.restore(attrBuf, 120)
	for off := 0; off < len(data); off += 4 {
		r.fd(buf, uint32(off))
	}
	return 0
}

// info marshals the pointers inside of a structure of BPF_OBJ_GET_INFO_BY_FD.
func (r *Request) info(attr []byte) unix.Errno {
	buf := r.pointed(8)
	o := r.Object
	if buf < 0 || o == nil {
		return 0
	}
	if o.Kind == abi.KindBTF {
		r.knownBTF(buf)
	}
	if known, ok := abi.InfoSizes[o.Kind]; ok && used(r.Call.Bufs[buf].In) > int(known) {
		return unix.E2BIG // bpf_check_uarg_tail_zero
	}
	fields := abi.InfoFields[o.Kind]
	if o.Kind == abi.KindLink && used(r.Call.Bufs[buf].In) > 0 {
		fields = abi.LinkInfoFields[r.objs.LinkType(o)]
	}
	for i := range fields {
		if e := r.field(&fields[i], buf, nil, nil); e != 0 {
			return e
		}
	}
	return 0
}

// iterInfo translates the descriptor in union bpf_iter_link_info: of a cgroup
// behind its order, of a process behind two ids, or of a map. Which it is
// depends on the program, whose target the tool names by a number in the
// kernel's BTF; it shows by what the descriptors are.
func (r *Request) iterInfo() unix.Errno {
	buf := r.pointed(16)
	if buf < 0 {
		return 0
	}
	data := r.Call.Bufs[buf].In
	number := func(off int) int32 { return int32(field(data, off)) }
	if n := number(4); n > 0 && r.objs.Object(n) == nil {
		if h, ok := r.objs.Foreign(n); ok {
			r.patchFD(buf, 4, h)
			return 0
		}
	}
	if o := r.objs.Object(number(8)); len(data) >= 12 && o != nil && o.Kind == abi.KindPidfd {
		r.patchFD(buf, 8, o.Handle)
		return 0
	}
	if len(data) >= 4 && number(0) != 0 { // 0 is no map (bpf_iter_attach_map), but every process (bpf_iter_attach_task)
		if o := r.objs.Object(number(0)); o != nil {
			r.patchFD(buf, 0, o.Handle)
		} else if _, open := r.objs.Other(number(0)); len(data) == 4 && open {
			le.PutUint32(data, badFD)
		}
	}
	return 0
}

// symbols follows the array of strings of a kprobe_multi link.
func (r *Request) symbols(attr []byte) unix.Errno {
	fields := abi.LinkFields[field(attr, 8)]
	if len(fields) == 0 || fields[0].Name != "kprobe_multi.flags" {
		return 0
	}
	buf := r.pointed(24)
	if buf < 0 {
		return 0
	}
	for off := uint32(0); off+8 <= r.Call.Bufs[buf].Len; off += 8 {
		b, e := r.str(le.Uint64(r.Call.Bufs[buf].In[off:]))
		if e != 0 {
			return e
		}
		r.point(buf, off, r.addBuf(b))
	}
	return 0
}

// taskFD translates the descriptor of BPF_TASK_FD_QUERY, which is a number in
// the process pid: the tool's own is the daemon's on the target.
func (r *Request) taskFD(attr []byte) unix.Errno {
	if len(attr) >= 8 {
		if o := r.objs.Object(int32(le.Uint32(attr[4:]))); o != nil {
			r.fd(attrBuf, 4)
		}
	}
	return 0
}

// values translates descriptors that are keys or values of a map.
func (r *Request) values(cmd uint32, attr []byte, info *MapInfo) unix.Errno {
	t := abi.MapTypeOf(info.Type)
	if info.Type == abi.BPF_MAP_TYPE_STRUCT_OPS && cmd == abi.BPF_MAP_UPDATE_ELEM {
		r.m.warnOnce("the tool registers a struct_ops map, which bpfctl does not support; it fails with EOPNOTSUPP")
		return unix.EOPNOTSUPP
	}
	update := cmd == abi.BPF_MAP_UPDATE_ELEM || cmd == abi.BPF_MAP_UPDATE_BATCH
	keys, values := uint32(8), uint32(16)
	if cmd >= abi.BPF_MAP_LOOKUP_BATCH && cmd <= abi.BPF_MAP_DELETE_BATCH {
		keys, values = 16, 24
	}
	if buf := r.pointed(keys); t.KeyFD && buf >= 0 {
		r.fds(buf, info.KeySize, 0)
	}
	if buf := r.pointed(values); t.ValueFD >= 0 && update && buf >= 0 {
		r.fds(buf, info.ValueSize, uint32(t.ValueFD))
	}
	return 0
}

// fds translates the descriptor at off of every element of a buffer.
func (r *Request) fds(buf int, size, off uint32) {
	for at := off; size > 0 && at+4 <= r.Call.Bufs[buf].Len; at += size {
		r.fd(buf, at)
	}
}
