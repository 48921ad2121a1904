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

const (
	batchCount = 32 // offset of batch.count in union bpf_attr

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
	if end := used(data); end > int(row.Size) {
		m.warnOnce("the tool passes attributes to %s that bpfctl does not know; it is told that the kernel does not know them either", row.Name)
		if end > abi.AttrSize {
			return nil, unix.E2BIG // bpf_check_uarg_tail_zero
		}
		return nil, unix.EINVAL // CHECK_ATTR
	}
	data = data[:min(len(data), int(row.Size))]
	r.Call = wire.Call{Sys: wire.SysBPF, Args: []uint64{uint64(cmd), 0, uint64(len(data))}, Patches: make([]wire.Patch, 0, 4)}
	r.addBuf(wire.Buf{Flags: wire.BufIn, Len: uint32(len(data)), In: data})
	r.point(wire.PatchArg, attrArg, attrBuf)
	r.copyBack(row, attr, data)
	if row.Slow {
		r.Call.Flags |= wire.CallSlow
	}
	if row.Runs {
		r.Call.Flags |= wire.CallDrain
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
	return r, r.fits()
}

// used is how long b is without the zeros at its end.
func used(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
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
	r.fields, r.first = fields, len(r.Call.Args)
	info, e := r.mapInfo(row)
	if e != 0 {
		return e
	}
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

// mapInfo returns the sizes of the map that a command works on, nil if it has
// none: then the target says what is wrong.
func (r *Request) mapInfo(row *abi.Command) (*MapInfo, unix.Errno) {
	attr := r.Call.Bufs[attrBuf].In
	if row.Map < 0 || int(row.Map)+4 > len(attr) {
		return nil, 0
	}
	o := r.objs.Object(int32(le.Uint32(attr[row.Map:])))
	if o == nil {
		return nil, 0
	}
	if o.Kind == abi.KindMap && o.Map == nil {
		return nil, unix.EIO // the target did not say how large its elements are
	}
	return o.Map, 0
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
	b, e := r.memory(f, addr, data, info)
	if e != 0 {
		return e
	}
	if f.Kind != abi.In && f.Kind != abi.Str {
		b.Flags |= wire.BufOut
		o := output{addr: addr, size: b.Len, text: f.Kind == abi.Text || f.Kind == abi.Log, buf: len(r.Call.Bufs),
			onError: f.Kind == abi.Log, partial: r.Call.Flags&wire.CallKeepOnError != 0}
		if o.text {
			b.Flags |= wire.BufStr
		} else if row == nil || counts(row, f.Len) {
			o.parent = buf
			o.unit, o.count = r.unit(f.Len, info)
		}
		r.outputs = append(r.outputs, o)
	}
	ref := r.addBuf(b)
	r.point(buf, uint32(f.Off), ref)
	r.restore(buf, uint32(f.Off))
	return 0
}

// memory lays out what a pointer points to.
func (r *Request) memory(f *abi.Field, addr uint64, data []byte, info *MapInfo) (wire.Buf, unix.Errno) {
	if f.Kind == abi.Str {
		return r.str(addr)
	}
	if f.Len.Max != 0 && field(data, int(f.Len.Of)) > f.Len.Max {
		return wire.Buf{}, unix.E2BIG
	}
	size := r.length(f.Len, data, info)
	if size == 0 {
		size = uint64(f.Len.Free)
	}
	limit := uint64(maxMemory)
	if f.Kind == abi.Out || f.Kind == abi.Text || f.Kind == abi.Log {
		limit = wire.MaxCallMemory / 2 // what comes back may be shorter
	}
	if size > limit {
		return wire.Buf{}, r.tooLong(size)
	}
	b := wire.Buf{Len: uint32(size)}
	if f.Kind == abi.In || f.Kind == abi.InOut {
		b.Flags |= wire.BufIn
		b.In = make([]byte, size)
		if r.mem.ReadAt(addr, b.In) != nil {
			return b, unix.EFAULT
		}
	}
	return b, 0
}

// counts says whether the kernel writes back the number which a length depends on.
func counts(row *abi.Command, l abi.Len) bool {
	of := l.Of
	if l.Rule == abi.Keys || l.Rule == abi.Values {
		of = batchCount
	}
	for i := range row.Fields {
		if f := &row.Fields[i]; f.Kind == abi.Back && f.Off == of {
			return true
		}
	}
	return false
}

// unit returns how many bytes each of what is counted takes, and where the
// count is.
func (r *Request) unit(l abi.Len, info *MapInfo) (bytes uint32, count int) {
	switch {
	case l.Rule == abi.Sibling:
		return l.N, int(l.Of)
	case l.Rule == abi.Keys && info != nil:
		return info.KeySize, batchCount
	case l.Rule == abi.Values && info != nil:
		return r.m.ValueSize(info), batchCount
	}
	return 0, 0
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
	count := uint64(field(data, batchCount))
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
	case t.Handles:
		return 4 // an id, whatever the value is when it is stored
	}
	return i.ValueSize
}

// MappedSize is how many bytes a mapping of an array takes
// (kernel/bpf/arraymap.c): its elements, each rounded up to 8.
func (i *MapInfo) MappedSize() int {
	return int((i.ValueSize+7)&^7) * int(i.MaxEntries)
}
