package abi

import "golang.org/x/sys/unix"

// Map types and flags that others name.
const (
	BPF_MAP_TYPE_RINGBUF      = unix.BPF_MAP_TYPE_RINGBUF
	BPF_MAP_TYPE_USER_RINGBUF = unix.BPF_MAP_TYPE_USER_RINGBUF
	BPF_MAP_TYPE_ARENA        = 33 // newer than the headers of x/sys
	BPF_F_MMAPABLE            = unix.BPF_F_MMAPABLE
)

// noFD as a field of MapType: there is no descriptor.
const noFD = -1

// MapType says what is special about the maps of a type.
type MapType struct {
	PerCPU  bool
	ValueFD int  // offset of a descriptor in a value, noFD if there is none
	Handles bool // a lookup returns the id of what is stored, IS_FD_MAP
	Sockets bool // the descriptor is a socket
	KeyFD   bool // the key is a descriptor
	Hash    bool // a position in a batch is a bucket number, 4 bytes
	NoWalk  bool // walking it would change it, or cannot be done
}

var plain = MapType{ValueFD: noFD}

// mapTypes has the types that differ from plain.
var mapTypes = map[uint32]MapType{
	unix.BPF_MAP_TYPE_HASH:                  {ValueFD: noFD, Hash: true},
	unix.BPF_MAP_TYPE_LRU_HASH:              {ValueFD: noFD, Hash: true},
	unix.BPF_MAP_TYPE_PERCPU_HASH:           {ValueFD: noFD, PerCPU: true, Hash: true},
	unix.BPF_MAP_TYPE_LRU_PERCPU_HASH:       {ValueFD: noFD, PerCPU: true, Hash: true},
	unix.BPF_MAP_TYPE_PERCPU_ARRAY:          {ValueFD: noFD, PerCPU: true},
	unix.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: {ValueFD: noFD, PerCPU: true, NoWalk: true},
	unix.BPF_MAP_TYPE_PROG_ARRAY:            {ValueFD: 0, Handles: true, NoWalk: true},
	unix.BPF_MAP_TYPE_PERF_EVENT_ARRAY:      {ValueFD: 0, Handles: true, NoWalk: true},
	unix.BPF_MAP_TYPE_CGROUP_ARRAY:          {ValueFD: 0, Handles: true, NoWalk: true},
	unix.BPF_MAP_TYPE_ARRAY_OF_MAPS:         {ValueFD: 0, Handles: true, NoWalk: true},
	unix.BPF_MAP_TYPE_HASH_OF_MAPS:          {ValueFD: 0, Handles: true, Hash: true, NoWalk: true},
	unix.BPF_MAP_TYPE_SOCKMAP:               {ValueFD: 0, Sockets: true, NoWalk: true},
	unix.BPF_MAP_TYPE_SOCKHASH:              {ValueFD: 0, Sockets: true, NoWalk: true},
	unix.BPF_MAP_TYPE_XSKMAP:                {ValueFD: 0, Sockets: true, NoWalk: true},
	unix.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:   {ValueFD: 0, Sockets: true, NoWalk: true},
	unix.BPF_MAP_TYPE_DEVMAP:                {ValueFD: 4, NoWalk: true}, // struct bpf_devmap_val
	unix.BPF_MAP_TYPE_DEVMAP_HASH:           {ValueFD: 4, NoWalk: true},
	unix.BPF_MAP_TYPE_CPUMAP:                {ValueFD: 4, NoWalk: true}, // struct bpf_cpumap_val
	unix.BPF_MAP_TYPE_SK_STORAGE:            {ValueFD: noFD, KeyFD: true, NoWalk: true},
	unix.BPF_MAP_TYPE_INODE_STORAGE:         {ValueFD: noFD, KeyFD: true, NoWalk: true},
	unix.BPF_MAP_TYPE_TASK_STORAGE:          {ValueFD: noFD, KeyFD: true, NoWalk: true},
	unix.BPF_MAP_TYPE_CGRP_STORAGE:          {ValueFD: noFD, KeyFD: true, NoWalk: true},
	unix.BPF_MAP_TYPE_STRUCT_OPS:            {ValueFD: noFD, NoWalk: true},
	unix.BPF_MAP_TYPE_QUEUE:                 {ValueFD: noFD, NoWalk: true},
	unix.BPF_MAP_TYPE_STACK:                 {ValueFD: noFD, NoWalk: true},
	unix.BPF_MAP_TYPE_BLOOM_FILTER:          {ValueFD: noFD, NoWalk: true},
}

// MapTypeOf returns what is special about a map type.
func MapTypeOf(t uint32) MapType {
	if m, ok := mapTypes[t]; ok {
		return m
	}
	return plain
}
