package marshal

import (
	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// attrBuf is the index of union bpf_attr among the buffers.
const attrBuf = 0

// maxAttr is the largest attribute that the kernel looks at, a page.
const maxAttr = 4096

// sentinel as a command asks for a stand-in function (see supervisor).
const (
	attrArg = 1 // of bpf(2)
	sizeArg = 2
)

// BPF marshals bpf(cmd, attr, size).
func (m *Marshaller) BPF(mem Memory, objs Objects, cmd uint32, attr uint64, size uint32) (*Request, unix.Errno) {
	if cmd >= uint32(len(abi.Commands)) {
		m.warnOnce("the tool uses bpf command %d, which bpfctl does not know; it is told that the kernel does not know it either", cmd)
		return nil, unix.EINVAL
	}
	row := &abi.Commands[cmd]
	if size > maxAttr {
		return nil, unix.E2BIG
	}
	r := &Request{Name: row.Name, m: m, mem: mem, objs: objs}
	data := make([]byte, size)
	if mem.ReadAt(attr, data) != nil {
		return nil, unix.EFAULT
	}
	for _, b := range data[min(len(data), int(row.Size)):] {
		if b != 0 {
			m.warnOnce("the tool passes attributes to %s that bpfctl does not know; it is told that the kernel does not know them either", row.Name)
			return nil, unix.E2BIG
		}
	}
	data = data[:min(len(data), int(row.Size))]
	r.Call = wire.Call{Sys: wire.SysBPF, Args: []uint64{uint64(cmd), 0, uint64(len(data))}, Patches: make([]wire.Patch, 0, 4)}
	r.addBuf(wire.Buf{Flags: wire.BufIn, Len: uint32(len(data)), In: data})
	r.point(wire.PatchArg, attrArg, attrBuf)
	r.copyBack(row, attr, data)
	if row.Slow {
		r.Call.Flags |= wire.CallSlow
	}
	if row.Errors {
		r.Call.Flags |= wire.CallKeepOnError
	}
	if row.Result {
		r.Result = &Object{Handle: m.NewHandle()}
		r.Call.Result = r.Result.Handle
	}
	if e := r.bpf(cmd, row); e != 0 {
		return nil, e
	}
	return r, 0
}

// copyBack has those fields of the attributes copied back that the kernel
// writes, and no others: the target's are full of its own descriptors.
func (r *Request) copyBack(row *abi.Command, addr uint64, attr []byte) {
	o := output{addr: addr, size: uint32(len(attr)), onError: row.Errors, buf: attrBuf}
	for i := range row.Fields {
		if f := &row.Fields[i]; f.Kind == abi.Back && int(f.Off)+int(f.Size) <= len(attr) {
			o.only = append(o.only, span{uint32(f.Off), uint32(f.Size)})
		}
	}
	if o.only != nil {
		r.Call.Bufs[attrBuf].Flags |= wire.BufOut
		r.outputs = append(r.outputs, o)
	}
}

func (r *Request) bpf(cmd uint32, row *abi.Command) unix.Errno {
	fields := row.Fields
	attr := r.Call.Bufs[attrBuf].In
	switch row.Hook {
	case abi.LinkCreate:
		fields = append(fields[:len(fields):len(fields)], abi.LinkUnion(field(attr, 8))...)
		if abi.TargetIsInterface(field(attr, 8)) {
			fields = asScalar(fields, "target_fd")
		}
	case abi.Attach:
		if abi.TargetIsInterface(attachType(cmd, attr)) {
			fields = asScalar(fields, "target_fd")
		}
	}
	info := r.mapInfo(row)
	for i := range fields {
		if e := r.field(&fields[i], attrBuf, row, info); e != 0 {
			return e
		}
	}
	return r.hook(cmd, row, info)
}

// attachType is at another place in BPF_PROG_QUERY.
func attachType(cmd uint32, attr []byte) uint32 {
	if cmd == abi.BPF_PROG_QUERY {
		return field(attr, 4)
	}
	return field(attr, 8)
}

// field reads a u32 of a structure, 0 past its end.
func field(b []byte, off int) uint32 {
	if off+4 > len(b) {
		return 0
	}
	return le.Uint32(b[off:])
}

func asScalar(fields []abi.Field, name string) []abi.Field {
	out := append([]abi.Field(nil), fields...)
	for i := range out {
		if out[i].Name == name {
			out[i].Kind = abi.Ifindex
		}
	}
	return out
}

// mapInfo returns the sizes of the map that a command works on.
func (r *Request) mapInfo(row *abi.Command) *MapInfo {
	attr := r.Call.Bufs[attrBuf].In
	if row.Map < 0 || int(row.Map)+4 > len(attr) {
		return nil
	}
	if o := r.objs.Object(int32(le.Uint32(attr[row.Map:]))); o != nil {
		return o.Map
	}
	return nil
}

// field marshals one field of a structure.
func (r *Request) field(f *abi.Field, buf int, row *abi.Command, info *MapInfo) unix.Errno {
	data := r.Call.Bufs[buf].In
	if int(f.Off)+int(f.Size) > len(data) {
		return 0 // an older tool's structure ends before it
	}
	switch f.Kind {
	case abi.Scalar, abi.Back, abi.Ifindex:
		return 0
	case abi.FD:
		if o := r.fd(buf, uint32(f.Off)); o != nil && r.Object == nil {
			r.Object = o
		}
		return 0
	}
	addr := le.Uint64(data[f.Off:])
	if addr == 0 {
		return 0
	}
	var b wire.Buf
	if f.Kind == abi.Str {
		s, err := r.mem.String(addr)
		if err != nil {
			return unix.EFAULT
		}
		b = wire.Buf{Flags: wire.BufIn, Len: uint32(len(s) + 1), In: []byte(s)}
	} else {
		size := uint64(r.length(f.Len, data, info))
		if size > maxMemory {
			return unix.E2BIG
		}
		b = wire.Buf{Len: uint32(size)}
		if f.Kind == abi.In || f.Kind == abi.InOut {
			b.Flags |= wire.BufIn
			b.In = make([]byte, size)
			if r.mem.ReadAt(addr, b.In) != nil {
				return unix.EFAULT
			}
		}
	}
	text := f.Kind == abi.Log
	if f.Kind == abi.Out || f.Kind == abi.InOut || text {
		b.Flags |= wire.BufOut
		if text {
			b.Flags |= wire.BufStr
		}
		r.outputs = append(r.outputs, output{addr: addr, size: b.Len, text: text, buf: len(r.Call.Bufs),
			onError: text || row != nil && row.Errors})
	}
	ref := r.addBuf(b)
	r.point(buf, uint32(f.Off), ref)
	r.restore(buf, uint32(f.Off))
	return 0
}

// restore keeps the tool's own pointer in a buffer that is copied back.
func (r *Request) restore(buf int, off uint32) {
	for i := range r.outputs {
		if r.outputs[i].buf == buf {
			r.outputs[i].except = append(r.outputs[i].except, span{off, 8})
			return
		}
	}
}

// length returns how many bytes are behind a pointer.
func (r *Request) length(l abi.Len, data []byte, info *MapInfo) uint64 {
	count := uint64(field(data, 32)) // of a batch
	switch l.Rule {
	case abi.Bytes:
		return uint64(l.N)
	case abi.Sibling:
		return uint64(field(data, int(l.Of))) * uint64(l.N)
	case abi.Records:
		return uint64(field(data, int(l.Of))) * uint64(field(data, int(l.N)))
	}
	if info == nil {
		return 0 // a bad descriptor: the target says so
	}
	switch l.Rule {
	case abi.KeySize:
		return uint64(info.KeySize)
	case abi.ValueSize:
		return uint64(r.m.ValueSize(info))
	case abi.Keys:
		return count * uint64(info.KeySize)
	case abi.Values:
		return count * uint64(r.m.ValueSize(info))
	}
	if abi.MapTypeOf(info.Type).Hash {
		return 4 // abi.Token: a bucket
	}
	return max(uint64(info.KeySize), 4)
}

// ValueSize is how many bytes a lookup in a map returns (bpf_map_value_size).
func (m *Marshaller) ValueSize(i *MapInfo) uint32 {
	t := abi.MapTypeOf(i.Type)
	switch {
	case t.PerCPU:
		return (i.ValueSize + 7) &^ 7 * m.Target.CPUs
	case t.ValueFD == 0:
		return 4
	}
	return i.ValueSize
}

// MappedSize is how many bytes a mapping of an array takes
// (kernel/bpf/arraymap.c): its elements, each rounded up to 8.
func (i *MapInfo) MappedSize() int {
	return int((i.ValueSize+7)&^7) * int(i.MaxEntries)
}
