package abi

import "golang.org/x/sys/unix"

// InfoFields are the pointers inside of the structures that
// BPF_OBJ_GET_INFO_BY_FD fills, by the kind of the object: struct
// bpf_prog_info, bpf_map_info, bpf_btf_info.
var InfoFields = map[Kind][]Field{
	KindProg: {
		out("jited_prog_insns", 24, times(16, 1)), out("xlated_prog_insns", 32, times(20, 1)),
		out("map_ids", 56, times(52, 4)), out("jited_ksyms", 112, times(104, 8)), out("jited_func_lens", 120, times(108, 4)),
		out("func_info", 136, times(144, 8)), out("line_info", 152, times(148, 16)), out("jited_line_info", 160, times(168, 8)),
		out("prog_tags", 184, times(180, 8)),
	},
	KindMap: {out("hash", 88, times(96, 1))},
	KindBTF: {out("btf", 0, times(8, 1)), text("name", 16, 24)},
}

// InfoSizes are how many bytes of those structures are known: more could hold
// a pointer.
var InfoSizes = map[Kind]uint32{KindProg: 232, KindMap: 104, KindBTF: 32, KindLink: 72}

// LinkInfoFields are those of struct bpf_link_info, by the type of the link.
var LinkInfoFields = map[uint32][]Field{
	unix.BPF_LINK_TYPE_RAW_TRACEPOINT: {text("raw_tracepoint.tp_name", 16, 24)},
	unix.BPF_LINK_TYPE_ITER:           {text("iter.target_name", 16, 24)},
	unix.BPF_LINK_TYPE_KPROBE_MULTI:   {out("kprobe_multi.addrs", 16, times(24, 8)), out("kprobe_multi.cookies", 40, times(24, 8))},
	unix.BPF_LINK_TYPE_PERF_EVENT:     {text("perf_event.name", 24, 32)},
	unix.BPF_LINK_TYPE_UPROBE_MULTI: {
		text("uprobe_multi.path", 16, 48), out("uprobe_multi.offsets", 24, times(52, 8)),
		out("uprobe_multi.ref_ctr_offsets", 32, times(52, 8)), out("uprobe_multi.cookies", 40, times(52, 8))},
}

// Attach types that only newer headers have, enum bpf_attach_type.
const (
	attachNetkitPrimary = 54 // BPF_NETKIT_PRIMARY
	attachNetkitPeer    = 55 // BPF_NETKIT_PEER
	attachKprobeSession = 56 // BPF_TRACE_KPROBE_SESSION
	attachUprobeSession = 57 // BPF_TRACE_UPROBE_SESSION
)

var (
	kprobeMulti = []Field{
		u32("kprobe_multi.flags", 16), u32("kprobe_multi.cnt", 20), {"kprobe_multi.syms", 24, 8, In, times(20, 8)},
		in("kprobe_multi.addrs", 32, times(20, 8)), in("kprobe_multi.cookies", 40, times(20, 8))}
	uprobeMulti = []Field{
		str("uprobe_multi.path", 16), in("uprobe_multi.offsets", 24, times(48, 8)),
		in("uprobe_multi.ref_ctr_offsets", 32, times(48, 8)), in("uprobe_multi.cookies", 40, times(48, 8)),
		u32("uprobe_multi.cnt", 48), u32("uprobe_multi.flags", 52), u32("uprobe_multi.pid", 56)}
	relative = []Field{fd("relative_fd", 16), u64("expected_revision", 24)}
)

// LinkFields are the rest of BPF_LINK_CREATE's attributes, by attach type. The
// types which are missing take CgroupFields.
var LinkFields = map[uint32][]Field{
	unix.BPF_TRACE_ITER:         {in("iter_info", 16, times(24, 1)), u32("iter_info_len", 24)},
	unix.BPF_TRACE_KPROBE_MULTI: kprobeMulti,
	attachKprobeSession:         kprobeMulti,
	unix.BPF_TRACE_UPROBE_MULTI: uprobeMulti,
	attachUprobeSession:         uprobeMulti,
	unix.BPF_TCX_INGRESS:        relative,
	unix.BPF_TCX_EGRESS:         relative,
	attachNetkitPrimary:         relative,
	attachNetkitPeer:            relative,
}

// cookieTypes have a cookie where cgroups have relative_fd.
var cookieTypes = map[uint32]bool{
	unix.BPF_PERF_EVENT: true, unix.BPF_TRACE_RAW_TP: true, unix.BPF_TRACE_FENTRY: true, unix.BPF_TRACE_FEXIT: true,
	unix.BPF_MODIFY_RETURN: true, unix.BPF_LSM_MAC: true, unix.BPF_NETFILTER: true, unix.BPF_XDP: true,
}

// LinkUnion returns the fields of BPF_LINK_CREATE's union for an attach type.
func LinkUnion(attachType uint32) []Field {
	if f, ok := LinkFields[attachType]; ok {
		return f
	}
	if cookieTypes[attachType] {
		return []Field{u64("cookie", 16), u64("cookie", 24)}
	}
	return relative
}

// interfaceTypes are the attach types whose target is a network interface.
var interfaceTypes = map[uint32]bool{
	unix.BPF_XDP: true, unix.BPF_TCX_INGRESS: true, unix.BPF_TCX_EGRESS: true,
	attachNetkitPrimary: true, attachNetkitPeer: true,
	unix.BPF_NETFILTER: true,
}

// TargetIsInterface says whether target_fd of an attach type is the number of
// an interface.
func TargetIsInterface(attachType uint32) bool { return interfaceTypes[attachType] }
