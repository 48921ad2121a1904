package marshal

import (
	"bytes"

	"bpfd/internal/abi"
	"bpfd/internal/wire"
)

// infoCall asks for the info of an object, of size bytes.
func infoCall(h wire.Handle, size uint32) *wire.Call {
	attr := make([]byte, 16)
	le.PutUint32(attr[4:], size)
	return &wire.Call{
		Sys: wire.SysBPF, Args: []uint64{abi.BPF_OBJ_GET_INFO_BY_FD, 0, uint64(len(attr))},
		Bufs: []wire.Buf{{Flags: wire.BufIn, Len: uint32(len(attr)), In: attr}, {Flags: wire.BufOut, Len: size}},
		Patches: []wire.Patch{
			{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: attrArg, Ref: 0},
			{Kind: wire.PatchFD, Buf: 0, Off: 0, Ref: uint32(h)},
			{Kind: wire.PatchPtr, Buf: 0, Off: 8, Ref: 1},
		},
	}
}

// mapInfoLen covers type, id, sizes, entries and flags of struct bpf_map_info.
const mapInfoLen = 24

// MapInfoCall asks for the sizes of a map.
func MapInfoCall(h wire.Handle) *wire.Call { return infoCall(h, mapInfoLen) }

// ParseMapInfo reads the answer to MapInfoCall.
func ParseMapInfo(reply *wire.CallReply) *MapInfo {
	if len(reply.Out) != 1 {
		return nil
	}
	b := make([]byte, mapInfoLen)
	copy(b, reply.Out[0])
	return &MapInfo{Type: le.Uint32(b), KeySize: le.Uint32(b[8:]), ValueSize: le.Uint32(b[12:]), MaxEntries: le.Uint32(b[16:]), Flags: le.Uint32(b[20:])}
}

// LinkInfoCall asks for the type of a link.
func LinkInfoCall(h wire.Handle) *wire.Call { return infoCall(h, 4) }

// ParseLinkType reads the answer to LinkInfoCall, enum bpf_link_type.
func ParseLinkType(reply *wire.CallReply) uint32 {
	if len(reply.Out) != 1 {
		return 0
	}
	b := make([]byte, 4)
	copy(b, reply.Out[0])
	return le.Uint32(b)
}

// Offsets in struct bpf_btf_info, include/uapi/linux/bpf.h.
const (
	btfData    = 0
	btfSize    = 8
	btfName    = 16
	btfNameLen = 24
	btfKernel  = 28
	btfInfoLen = 32
)

var vmlinux = []byte("vmlinux\x00")

// BTFInfoCall asks whose type information a BTF object holds.
func BTFInfoCall(h wire.Handle) *wire.Call {
	c := infoCall(h, btfInfoLen)
	in := make([]byte, btfInfoLen)
	le.PutUint32(in[btfNameLen:], uint32(len(vmlinux)))
	c.Bufs[1].Flags |= wire.BufIn
	c.Bufs[1].In = in
	c.Bufs = append(c.Bufs, wire.Buf{Flags: wire.BufOut, Len: uint32(len(vmlinux))})
	c.Patches = append(c.Patches, wire.Patch{Kind: wire.PatchPtr, Buf: 1, Off: btfName, Ref: 2})
	return c
}

// IsKernelBTF reads the answer to BTFInfoCall: whether the object holds the
// types of the kernel itself, not of a module or a program.
func IsKernelBTF(reply *wire.CallReply) bool {
	return reply.Errno == 0 && len(reply.Out) == 2 && len(reply.Out[0]) > btfKernel && reply.Out[0][btfKernel] == 1 &&
		bytes.Equal(reply.Out[1], bytes.TrimRight(vmlinux, "\x00"))
}

// knownBTF takes the kernel's type information out of a request for it, when
// it is known already.
func (r *Request) knownBTF(info int) {
	data := r.Call.Bufs[info].In
	if len(data) < btfInfoLen || r.m.KernelBTF == nil {
		return
	}
	addr, size := le.Uint64(data[btfData:]), le.Uint32(data[btfSize:])
	if addr == 0 || size < minKernelBTF {
		return
	}
	known := r.m.KernelBTF(r.Object)
	if known == nil {
		return
	}
	r.known, r.knownAt = known[:min(int(size), len(known))], addr
	le.PutUint64(data[btfData:], 0)
	le.PutUint32(data[btfSize:], 0)
}

// minKernelBTF is less than the types of any kernel take, in bytes.
const minKernelBTF = 64 << 10

// finishBTF writes what knownBTF took out of the request.
func (r *Request) finishBTF() error {
	if err := r.mem.WriteAt(r.knownAt, r.known); err != nil {
		return err
	}
	info := le.Uint64(r.Call.Bufs[attrBuf].In[attrInfo:])
	return r.mem.WriteAt(info+btfData, le.AppendUint64(nil, r.knownAt))
}

// attrInfo is the offset of the pointer to the info in union bpf_attr.
const attrInfo = 8

// DeleteCall is BPF_MAP_DELETE_ELEM.
func DeleteCall(h wire.Handle, key []byte) *wire.Call {
	attr := make([]byte, 16)
	return &wire.Call{
		Sys: wire.SysBPF, Args: []uint64{abi.BPF_MAP_DELETE_ELEM, 0, uint64(len(attr))},
		Bufs: []wire.Buf{{Flags: wire.BufIn, Len: uint32(len(attr)), In: attr}, {Flags: wire.BufIn, Len: uint32(len(key)), In: key}},
		Patches: []wire.Patch{
			{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: attrArg, Ref: 0},
			{Kind: wire.PatchFD, Buf: 0, Off: 0, Ref: uint32(h)},
			{Kind: wire.PatchPtr, Buf: 0, Off: 8, Ref: 1},
		},
	}
}
