package abi

import "golang.org/x/sys/unix"

// Map types and flags that others name.
const (
	BPF_MAP_TYPE_RINGBUF      = unix.BPF_MAP_TYPE_RINGBUF
	BPF_MAP_TYPE_USER_RINGBUF = unix.BPF_MAP_TYPE_USER_RINGBUF
	BPF_MAP_TYPE_STRUCT_OPS   = unix.BPF_MAP_TYPE_STRUCT_OPS
	BPF_MAP_TYPE_ARENA        = 33 // newer than the headers of x/sys
	BPF_F_MMAPABLE            = unix.BPF_F_MMAPABLE
)

// noFD as a field of MapType: there is no descriptor.
const noFD = -1

// MapType is a row of the table of map types.
type MapType struct {
	Name    string
	Since   string // Linux version
	PerCPU  bool
	ValueFD int  // offset of a descriptor in a value, noFD if there is none
	Handles bool // a lookup returns the id of what is stored, IS_FD_MAP
	KeyFD   bool // the key is a descriptor
	Hash    bool // a position in a batch is a bucket number, 4 bytes
	NoWalk  bool // walking it would change it, or cannot be done
	Level   Level
	Note    string
}

// MapTypes is the table, enum bpf_map_type of include/uapi/linux/bpf.h, Linux
// 6.18; the index is the type.
var MapTypes = [...]MapType{
	0:  {Name: "BPF_MAP_TYPE_UNSPEC", Since: "-", ValueFD: noFD, Level: No},
	1:  {Name: "BPF_MAP_TYPE_HASH", Since: "3.19", ValueFD: noFD, Hash: true, Level: Full},
	2:  {Name: "BPF_MAP_TYPE_ARRAY", Since: "3.19", ValueFD: noFD, Level: Full, Note: "a mmapable one, of up to 64 MiB, is kept in step: within 20 ms, and at each of the tool's calls"},
	3:  {Name: "BPF_MAP_TYPE_PROG_ARRAY", Since: "4.2", ValueFD: 0, Handles: true, NoWalk: true, Level: Full},
	4:  {Name: "BPF_MAP_TYPE_PERF_EVENT_ARRAY", Since: "4.3", ValueFD: 0, Handles: true, NoWalk: true, Level: Full, Note: "records of the perf buffers are streamed; overwritable buffers are refused"},
	5:  {Name: "BPF_MAP_TYPE_PERCPU_HASH", Since: "4.6", ValueFD: noFD, PerCPU: true, Hash: true, Level: Full},
	6:  {Name: "BPF_MAP_TYPE_PERCPU_ARRAY", Since: "4.6", ValueFD: noFD, PerCPU: true, Level: Full},
	7:  {Name: "BPF_MAP_TYPE_STACK_TRACE", Since: "4.6", ValueFD: noFD, Level: Full},
	8:  {Name: "BPF_MAP_TYPE_CGROUP_ARRAY", Since: "4.8", ValueFD: 0, Handles: true, NoWalk: true, Level: Full},
	9:  {Name: "BPF_MAP_TYPE_LRU_HASH", Since: "4.10", ValueFD: noFD, Hash: true, Level: Full},
	10: {Name: "BPF_MAP_TYPE_LRU_PERCPU_HASH", Since: "4.10", ValueFD: noFD, PerCPU: true, Hash: true, Level: Full},
	11: {Name: "BPF_MAP_TYPE_LPM_TRIE", Since: "4.11", ValueFD: noFD, Level: Full},
	12: {Name: "BPF_MAP_TYPE_ARRAY_OF_MAPS", Since: "4.12", ValueFD: 0, Handles: true, NoWalk: true, Level: Full},
	13: {Name: "BPF_MAP_TYPE_HASH_OF_MAPS", Since: "4.12", ValueFD: 0, Handles: true, Hash: true, NoWalk: true, Level: Full},
	14: {Name: "BPF_MAP_TYPE_DEVMAP", Since: "4.14", ValueFD: 4, NoWalk: true, Level: Full},
	15: {Name: "BPF_MAP_TYPE_SOCKMAP", Since: "4.14", ValueFD: 0, NoWalk: true, Level: Partial, Note: "programs of the target work with it; the tool cannot store its own sockets, which are this host's"},
	16: {Name: "BPF_MAP_TYPE_CPUMAP", Since: "4.15", ValueFD: 4, NoWalk: true, Level: Full},
	17: {Name: "BPF_MAP_TYPE_XSKMAP", Since: "4.18", ValueFD: 0, NoWalk: true, Level: Partial, Note: "the tool cannot store its own AF_XDP sockets, which are this host's"},
	18: {Name: "BPF_MAP_TYPE_SOCKHASH", Since: "4.18", ValueFD: 0, NoWalk: true, Level: Partial, Note: "as BPF_MAP_TYPE_SOCKMAP"},
	19: {Name: "BPF_MAP_TYPE_CGROUP_STORAGE", Since: "4.19", ValueFD: noFD, Level: Full},
	20: {Name: "BPF_MAP_TYPE_REUSEPORT_SOCKARRAY", Since: "4.19", ValueFD: 0, NoWalk: true, Level: Partial, Note: "as BPF_MAP_TYPE_SOCKMAP"},
	21: {Name: "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE", Since: "4.20", ValueFD: noFD, PerCPU: true, NoWalk: true, Level: Full},
	22: {Name: "BPF_MAP_TYPE_QUEUE", Since: "4.20", ValueFD: noFD, NoWalk: true, Level: Full},
	23: {Name: "BPF_MAP_TYPE_STACK", Since: "4.20", ValueFD: noFD, NoWalk: true, Level: Full},
	24: {Name: "BPF_MAP_TYPE_SK_STORAGE", Since: "5.2", ValueFD: noFD, KeyFD: true, NoWalk: true, Level: Partial, Note: "programs of the target work with it; the tool cannot look up its own sockets, which are this host's"},
	25: {Name: "BPF_MAP_TYPE_DEVMAP_HASH", Since: "5.4", ValueFD: 4, NoWalk: true, Level: Full},
	26: {Name: "BPF_MAP_TYPE_STRUCT_OPS", Since: "5.6", ValueFD: noFD, NoWalk: true, Level: Partial, Note: "can be created and read, not registered: its values hold functions"},
	27: {Name: "BPF_MAP_TYPE_RINGBUF", Since: "5.8", ValueFD: noFD, Level: Full, Note: "its records are streamed"},
	28: {Name: "BPF_MAP_TYPE_INODE_STORAGE", Since: "5.10", ValueFD: noFD, KeyFD: true, NoWalk: true, Level: Full, Note: "keys are files of the target, as the tool sees them in /proc and /sys"},
	29: {Name: "BPF_MAP_TYPE_TASK_STORAGE", Since: "5.11", ValueFD: noFD, KeyFD: true, NoWalk: true, Level: Full, Note: "keys are pidfds of the target's processes"},
	30: {Name: "BPF_MAP_TYPE_BLOOM_FILTER", Since: "5.16", ValueFD: noFD, NoWalk: true, Level: Full},
	31: {Name: "BPF_MAP_TYPE_USER_RINGBUF", Since: "6.1", ValueFD: noFD, Level: Full, Note: "records reach the target within 5 ms, or with the tool's next call"},
	32: {Name: "BPF_MAP_TYPE_CGRP_STORAGE", Since: "6.2", ValueFD: noFD, KeyFD: true, NoWalk: true, Level: Full, Note: "keys are directories of the target's cgroups"},
	33: {Name: "BPF_MAP_TYPE_ARENA", Since: "6.9", ValueFD: noFD, Level: Partial, Note: "can be created, not mapped: memory that the tool and programs share"},
}

// MapTypeOf returns the row of a map type. Those that are not known are taken
// for plain ones, whose elements nobody but the tool and its programs reads.
func MapTypeOf(t uint32) MapType {
	if t < uint32(len(MapTypes)) {
		return MapTypes[t]
	}
	return MapType{ValueFD: noFD}
}
