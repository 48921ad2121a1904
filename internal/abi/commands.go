package abi

// Commands of bpf(2), enum bpf_cmd of include/uapi/linux/bpf.h, Linux 6.18.
const (
	BPF_MAP_CREATE = iota
	BPF_MAP_LOOKUP_ELEM
	BPF_MAP_UPDATE_ELEM
	BPF_MAP_DELETE_ELEM
	BPF_MAP_GET_NEXT_KEY
	BPF_PROG_LOAD
	BPF_OBJ_PIN
	BPF_OBJ_GET
	BPF_PROG_ATTACH
	BPF_PROG_DETACH
	BPF_PROG_TEST_RUN
	BPF_PROG_GET_NEXT_ID
	BPF_MAP_GET_NEXT_ID
	BPF_PROG_GET_FD_BY_ID
	BPF_MAP_GET_FD_BY_ID
	BPF_OBJ_GET_INFO_BY_FD
	BPF_PROG_QUERY
	BPF_RAW_TRACEPOINT_OPEN
	BPF_BTF_LOAD
	BPF_BTF_GET_FD_BY_ID
	BPF_TASK_FD_QUERY
	BPF_MAP_LOOKUP_AND_DELETE_ELEM
	BPF_MAP_FREEZE
	BPF_BTF_GET_NEXT_ID
	BPF_MAP_LOOKUP_BATCH
	BPF_MAP_LOOKUP_AND_DELETE_BATCH
	BPF_MAP_UPDATE_BATCH
	BPF_MAP_DELETE_BATCH
	BPF_LINK_CREATE
	BPF_LINK_UPDATE
	BPF_LINK_GET_FD_BY_ID
	BPF_LINK_GET_NEXT_ID
	BPF_ENABLE_STATS
	BPF_ITER_CREATE
	BPF_LINK_DETACH
	BPF_PROG_BIND_MAP
	BPF_TOKEN_CREATE
	BPF_PROG_STREAM_READ_BY_FD
)

// AttrSize is the size of union bpf_attr.
const AttrSize = 168

var (
	keySize   = Len{Rule: KeySize}
	valueSize = Len{Rule: ValueSize}
	token     = Len{Rule: Token}
)

const (
	maxInsns   = 1 << 20   // BPF_COMPLEXITY_LIMIT_INSNS
	maxPacket  = 256 << 10 // more than an skb or an xdp_buff with fragments holds
	maxContext = 4 << 10   // struct __sk_buff, struct xdp_md
)

// none as Command.Map: the command has no map to take sizes from.
const none = -1

// byID are the fields of a command that opens an object by its id.
func byID(id string) []Field {
	return []Field{u32(id, 0), u32("next_id", 4), u32("open_flags", 8), fd("fd_by_id_token_fd", 12)}
}

var (
	nextIDFields = []Field{u32("start_id", 0), b32("next_id", 4), u32("open_flags", 8)}

	attachFields = []Field{
		fd("target_fd", 0), fd("attach_bpf_fd", 4), u32("attach_type", 8), u32("attach_flags", 12),
		fd("replace_bpf_fd", 16), fd("relative_fd", 20), u64("expected_revision", 24),
	}
)

// batchFields are those of the batch commands, with the direction of keys and values.
func batchFields(keys, values FieldKind) []Field {
	return []Field{
		in("in_batch", 0, token), out("out_batch", 8, token),
		{"keys", 16, 8, keys, Len{Rule: Keys}}, {"values", 24, 8, values, Len{Rule: Values}},
		b32("count", 32), fd("map_fd", 36), u64("elem_flags", 40), u64("flags", 48),
	}
}

// Commands is the table; the index is the command.
var Commands = [...]Command{
	BPF_MAP_CREATE: {Name: "BPF_MAP_CREATE", Since: "3.18", Size: 92, Map: none, Result: true, Level: Full, Fields: []Field{
		u32("map_type", 0), u32("key_size", 4), u32("value_size", 8), u32("max_entries", 12), u32("map_flags", 16),
		fd("inner_map_fd", 20), u32("numa_node", 24), name("map_name", 28), u32("map_ifindex", 44), fd("btf_fd", 48),
		u32("btf_key_type_id", 52), u32("btf_value_type_id", 56), u32("btf_vmlinux_value_type_id", 60), u64("map_extra", 64),
		fd("value_type_btf_obj_fd", 72), fd("map_token_fd", 76), in("excl_prog_hash", 80, times(88, 1)), u32("excl_prog_hash_size", 88)}},
	BPF_MAP_LOOKUP_ELEM: {Name: "BPF_MAP_LOOKUP_ELEM", Since: "3.18", Size: 32, Level: Full, Fields: []Field{
		fd("map_fd", 0), in("key", 8, keySize), out("value", 16, valueSize), u64("flags", 24)}},
	BPF_MAP_UPDATE_ELEM: {Name: "BPF_MAP_UPDATE_ELEM", Since: "3.18", Size: 32, Level: Full, Fields: []Field{
		fd("map_fd", 0), in("key", 8, keySize), in("value", 16, valueSize), u64("flags", 24)}},
	BPF_MAP_DELETE_ELEM: {Name: "BPF_MAP_DELETE_ELEM", Since: "3.18", Size: 16, Level: Full, Fields: []Field{
		fd("map_fd", 0), in("key", 8, keySize)}},
	BPF_MAP_GET_NEXT_KEY: {Name: "BPF_MAP_GET_NEXT_KEY", Since: "3.18", Size: 24, Level: Full,
		Note:   "served from chunks of keys and values that the target walks by itself",
		Fields: []Field{fd("map_fd", 0), in("key", 8, keySize), out("next_key", 16, keySize)}},
	BPF_PROG_LOAD: {Name: "BPF_PROG_LOAD", Since: "3.18", Size: 168, Map: none, Result: true, Errors: true, Slow: true, Hook: ProgLoad, Level: Full,
		Note: "kern_version is the target's for kprobe programs before Linux 5.0",
		Fields: []Field{
			u32("prog_type", 0), u32("insn_cnt", 4), in("insns", 8, atMost(4, 8, maxInsns)), str("license", 16), u32("log_level", 24),
			u32("log_size", 28), log("log_buf", 32, 28), u32("kern_version", 40), u32("prog_flags", 44), name("prog_name", 48),
			u32("prog_ifindex", 64), u32("expected_attach_type", 68), fd("prog_btf_fd", 72), u32("func_info_rec_size", 76),
			in("func_info", 80, records(88, 76)), u32("func_info_cnt", 88), u32("line_info_rec_size", 92),
			in("line_info", 96, records(104, 92)), u32("line_info_cnt", 104), u32("attach_btf_id", 108),
			fd("attach_prog_fd", 112), u32("core_relo_cnt", 116), u64("fd_array", 120), in("core_relos", 128, records(116, 136)),
			u32("core_relo_rec_size", 136), b32("log_true_size", 140), fd("prog_token_fd", 144), u32("fd_array_cnt", 148),
			in("signature", 152, times(160, 1)), u32("signature_size", 160), u32("keyring_id", 164)}},
	BPF_OBJ_PIN: {Name: "BPF_OBJ_PIN", Since: "4.4", Size: 20, Map: none, Level: Full, Note: "the path is on the target", Fields: []Field{
		str("pathname", 0), fd("bpf_fd", 8), u32("file_flags", 12), fd("path_fd", 16)}},
	BPF_OBJ_GET: {Name: "BPF_OBJ_GET", Since: "4.4", Size: 20, Map: none, Result: true, Level: Full, Note: "the path is on the target", Fields: []Field{
		str("pathname", 0), u32("bpf_fd", 8), u32("file_flags", 12), fd("path_fd", 16)}},
	BPF_PROG_ATTACH: {Name: "BPF_PROG_ATTACH", Since: "4.10", Size: 32, Map: none, Hook: Attach, Level: Full, Fields: attachFields},
	BPF_PROG_DETACH: {Name: "BPF_PROG_DETACH", Since: "4.10", Size: 32, Map: none, Hook: Attach, Level: Full, Fields: attachFields},
	BPF_PROG_TEST_RUN: {Name: "BPF_PROG_TEST_RUN", Since: "4.12", Size: 76, Map: none, Slow: true, Errors: true, Runs: true, Level: Full, Fields: []Field{
		fd("prog_fd", 0), b32("retval", 4), u32("data_size_in", 8), b32("data_size_out", 12), in("data_in", 16, times(8, 1)),
		out("data_out", 24, unlimited(12, 1, maxPacket)), u32("repeat", 32), b32("duration", 36), u32("ctx_size_in", 40), b32("ctx_size_out", 44),
		in("ctx_in", 48, times(40, 1)), out("ctx_out", 56, unlimited(44, 1, maxContext)), u32("flags", 64), u32("cpu", 68), u32("batch_size", 72)}},
	BPF_PROG_GET_NEXT_ID:  {Name: "BPF_PROG_GET_NEXT_ID", Since: "4.13", Size: 12, Map: none, Level: Full, Fields: nextIDFields},
	BPF_MAP_GET_NEXT_ID:   {Name: "BPF_MAP_GET_NEXT_ID", Since: "4.13", Size: 12, Map: none, Level: Full, Fields: nextIDFields},
	BPF_PROG_GET_FD_BY_ID: {Name: "BPF_PROG_GET_FD_BY_ID", Since: "4.13", Size: 16, Map: none, Result: true, Level: Full, Fields: byID("prog_id")},
	BPF_MAP_GET_FD_BY_ID:  {Name: "BPF_MAP_GET_FD_BY_ID", Since: "4.13", Size: 16, Map: none, Result: true, Level: Full, Fields: byID("map_id")},
	BPF_OBJ_GET_INFO_BY_FD: {Name: "BPF_OBJ_GET_INFO_BY_FD", Since: "4.13", Size: 16, Map: none, Hook: Info, Slow: true, Errors: true, Level: Full, Fields: []Field{
		fd("bpf_fd", 0), b32("info_len", 4), inout("info", 8, times(4, 1))}},
	BPF_PROG_QUERY: {Name: "BPF_PROG_QUERY", Since: "4.15", Size: 64, Map: none, Errors: true, Hook: Attach, Level: Full, Fields: []Field{
		fd("target_fd", 0), u32("attach_type", 4), u32("query_flags", 8), b32("attach_flags", 12), out("prog_ids", 16, times(24, 4)),
		b32("count", 24), out("prog_attach_flags", 32, times(24, 4)), out("link_ids", 40, times(24, 4)),
		out("link_attach_flags", 48, times(24, 4)), b64("revision", 56)}},
	BPF_RAW_TRACEPOINT_OPEN: {Name: "BPF_RAW_TRACEPOINT_OPEN", Since: "4.17", Size: 24, Map: none, Result: true, Level: Full, Fields: []Field{
		str("name", 0), fd("prog_fd", 8), u64("cookie", 16)}},
	BPF_BTF_LOAD: {Name: "BPF_BTF_LOAD", Since: "4.18", Size: 40, Map: none, Result: true, Errors: true, Slow: true, Level: Full, Fields: []Field{
		in("btf", 0, times(16, 1)), log("btf_log_buf", 8, 20), u32("btf_size", 16), u32("btf_log_size", 20),
		u32("btf_log_level", 24), b32("btf_log_true_size", 28), u32("btf_flags", 32), fd("btf_token_fd", 36)}},
	BPF_BTF_GET_FD_BY_ID: {Name: "BPF_BTF_GET_FD_BY_ID", Since: "4.18", Size: 16, Map: none, Result: true, Level: Full, Fields: byID("btf_id")},
	BPF_TASK_FD_QUERY: {Name: "BPF_TASK_FD_QUERY", Since: "4.18", Size: 48, Map: none, Errors: true, Level: Full, Fields: []Field{
		u32("pid", 0), u32("fd", 4), u32("flags", 8), b32("buf_len", 12), text("buf", 16, 12), b32("prog_id", 24),
		b32("fd_type", 28), b64("probe_offset", 32), b64("probe_addr", 40)}},
	BPF_MAP_LOOKUP_AND_DELETE_ELEM: {Name: "BPF_MAP_LOOKUP_AND_DELETE_ELEM", Since: "4.20", Size: 32, Level: Full, Fields: []Field{
		fd("map_fd", 0), in("key", 8, keySize), out("value", 16, valueSize), u64("flags", 24)}},
	BPF_MAP_FREEZE:      {Name: "BPF_MAP_FREEZE", Since: "5.2", Size: 4, Level: Full, Fields: []Field{fd("map_fd", 0)}},
	BPF_BTF_GET_NEXT_ID: {Name: "BPF_BTF_GET_NEXT_ID", Since: "5.4", Size: 12, Map: none, Level: Full, Fields: nextIDFields},
	BPF_MAP_LOOKUP_BATCH: {Name: "BPF_MAP_LOOKUP_BATCH", Since: "5.6", Size: 56, Map: 36, Errors: true, Level: Full,
		Fields: batchFields(Out, Out)},
	BPF_MAP_LOOKUP_AND_DELETE_BATCH: {Name: "BPF_MAP_LOOKUP_AND_DELETE_BATCH", Since: "5.6", Size: 56, Map: 36, Errors: true, Level: Full,
		Fields: batchFields(Out, Out)},
	BPF_MAP_UPDATE_BATCH: {Name: "BPF_MAP_UPDATE_BATCH", Since: "5.6", Size: 56, Map: 36, Errors: true, Level: Full, Fields: batchFields(In, In)},
	BPF_MAP_DELETE_BATCH: {Name: "BPF_MAP_DELETE_BATCH", Since: "5.6", Size: 56, Map: 36, Errors: true, Level: Full, Fields: batchFields(In, Scalar)},
	BPF_LINK_CREATE: {Name: "BPF_LINK_CREATE", Since: "5.7", Size: 64, Map: none, Result: true, Hook: LinkCreate, Slow: true, Level: Full, Fields: []Field{
		fd("prog_fd", 0), fd("target_fd", 4), u32("attach_type", 8), u32("flags", 12)}},
	BPF_LINK_UPDATE: {Name: "BPF_LINK_UPDATE", Since: "5.7", Size: 16, Map: none, Level: Full, Fields: []Field{
		fd("link_fd", 0), fd("new_prog_fd", 4), u32("flags", 8), fd("old_prog_fd", 12)}},
	BPF_LINK_GET_FD_BY_ID: {Name: "BPF_LINK_GET_FD_BY_ID", Since: "5.8", Size: 16, Map: none, Result: true, Level: Full, Fields: byID("link_id")},
	BPF_LINK_GET_NEXT_ID:  {Name: "BPF_LINK_GET_NEXT_ID", Since: "5.8", Size: 12, Map: none, Level: Full, Fields: nextIDFields},
	BPF_ENABLE_STATS:      {Name: "BPF_ENABLE_STATS", Since: "5.8", Size: 4, Map: none, Result: true, Level: Full, Fields: []Field{u32("type", 0)}},
	BPF_ITER_CREATE: {Name: "BPF_ITER_CREATE", Since: "5.8", Size: 8, Map: none, Result: true, Slow: true, Level: Full,
		Note: "each read(2) is one on the target", Fields: []Field{fd("link_fd", 0), u32("flags", 4)}},
	BPF_LINK_DETACH: {Name: "BPF_LINK_DETACH", Since: "5.9", Size: 4, Map: none, Level: Full, Fields: []Field{fd("link_fd", 0)}},
	BPF_PROG_BIND_MAP: {Name: "BPF_PROG_BIND_MAP", Since: "5.10", Size: 12, Map: none, Level: Full, Fields: []Field{
		fd("prog_fd", 0), fd("map_fd", 4), u32("flags", 8)}},
	BPF_TOKEN_CREATE: {Name: "BPF_TOKEN_CREATE", Since: "6.9", Size: 8, Map: none, Result: true, Level: Partial,
		Note: "the bpffs must be the target's", Fields: []Field{u32("flags", 0), fd("bpffs_fd", 4)}},
	BPF_PROG_STREAM_READ_BY_FD: {Name: "BPF_PROG_STREAM_READ_BY_FD", Since: "6.17", Size: 20, Map: none, Hook: Stream, Level: Full, Fields: []Field{
		out("stream_buf", 0, times(8, 1)), u32("stream_buf_len", 8), u32("stream_id", 12), fd("prog_fd", 16)}},
}
