package main

import (
	"bytes"
	"fmt"
	"sort"

	"golang.org/x/sys/unix"
)

func init() {
	cases["map-errors"] = mapErrors
	cases["map-unknown"] = mapUnknown
	cases["map-batch"] = mapBatch
	cases["map-percpu"] = mapPerCPU
	cases["map-fds"] = mapFDs
	cases["map-storage"] = mapStorage
	cases["map-huge"] = mapHuge
}

func createMap(kind, key, value, entries, flags uint32) int {
	fd, err := tryMap(kind, key, value, entries, flags)
	check("BPF_MAP_CREATE", err)
	return fd
}

func tryMap(kind, key, value, entries, flags uint32) (int, error) {
	return bpf(unix.BPF_MAP_CREATE, newAttr(72).u32(0, kind).u32(4, key).u32(8, value).u32(12, entries).u32(16, flags))
}

// element is union bpf_attr of the commands on one element.
func element(fd int, key, value []byte, flags uint64) *attr {
	return newAttr(32).u32(0, uint32(fd)).ptr(8, key).ptr(16, value).u64(24, flags)
}

func lookup(fd int, key []byte, size int) ([]byte, error) {
	value := bytes.Repeat([]byte{0xee}, size)
	_, err := bpf(unix.BPF_MAP_LOOKUP_ELEM, element(fd, key, value, 0))
	return value, err
}

func update(fd int, key, value []byte) error {
	_, err := bpf(unix.BPF_MAP_UPDATE_ELEM, element(fd, key, value, 0))
	return err
}

func remove(fd int, key []byte) error {
	_, err := bpf(unix.BPF_MAP_DELETE_ELEM, newAttr(16).u32(0, uint32(fd)).ptr(8, key))
	return err
}

// next returns the key after key, the first one if that is nil.
func next(fd int, key []byte, size int) ([]byte, error) {
	out := make([]byte, size)
	a := newAttr(24).u32(0, uint32(fd)).ptr(16, out)
	if key != nil {
		a.ptr(8, key)
	}
	_, err := bpf(unix.BPF_MAP_GET_NEXT_KEY, a)
	return out, err
}

// filled returns a map with the keys 0 to n-1, whose values are 1000+key.
func filled(kind, n, max uint32) int {
	fd := createMap(kind, 4, 8, max, 0)
	for i := range n {
		check("update", update(fd, u32s(i), u64s(uint64(1000+i))))
	}
	return fd
}

func mapErrors() {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 3, 8)
	value, err := lookup(fd, u32s(1), 8)
	fmt.Println(value, err)
	value, err = lookup(fd, u32s(77), 8)
	fmt.Println(value, err)
	_, err = lookup(99, u32s(1), 8)
	show("lookup in what is not open", err)
	_, err = lookup(1, u32s(1), 8)
	show("lookup in what is no map", err)
	_, err = bpf(unix.BPF_MAP_LOOKUP_ELEM, newAttr(32).u32(0, uint32(fd)).u64(8, 0x1000).ptr(16, make([]byte, 8)))
	show("key that cannot be read", err)
	_, err = bpf(unix.BPF_MAP_LOOKUP_ELEM, newAttr(32).u32(0, uint32(fd)).ptr(8, u32s(1)).u64(16, 0x1000))
	show("value that cannot be written", err)
	_, err = bpf(unix.BPF_MAP_LOOKUP_ELEM, newAttr(32).u32(0, uint32(fd)).ptr(16, make([]byte, 8)))
	show("no key", err)
	_, err = bpf(unix.BPF_MAP_LOOKUP_ELEM, element(fd, u32s(1), make([]byte, 8), 1<<20))
	show("flags that are not", err)
	_, err = bpf(unix.BPF_MAP_UPDATE_ELEM, element(fd, u32s(1), u64s(1), unix.BPF_NOEXIST))
	show("update of what exists", err)
	_, err = bpf(unix.BPF_MAP_UPDATE_ELEM, element(fd, u32s(9), u64s(1), unix.BPF_EXIST))
	show("update of what does not exist", err)
	show("delete", remove(fd, u32s(1)))
	show("delete again", remove(fd, u32s(1)))
	_, err = tryMap(9999, 4, 4, 1, 0)
	show("map type that is not", err)
	_, err = tryMap(unix.BPF_MAP_TYPE_HASH, 0, 4, 1, 0)
	show("map without a key", err)
	_, err = bpf(unix.BPF_MAP_CREATE, &attr{b: make([]byte, 0, 8)})
	show("no attributes", err)
	_, _, e := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, 0x1000, 72)
	show("attributes that cannot be read", e)
	_, _, e = unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, 0x1000, 5000)
	show("attributes of more than a page", e)
}

// mapUnknown passes what no kernel knows.
func mapUnknown() {
	_, err := bpf(250, newAttr(16))
	show("command 250", err)
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0)
	_, err = bpf(unix.BPF_MAP_FREEZE, newAttr(200).u32(0, uint32(fd)))
	show("zeros behind the attributes", err)
	_, err = bpf(unix.BPF_MAP_FREEZE, newAttr(64).u32(0, uint32(fd)).u32(32, 1))
	show("something behind the command's attributes", err)
	_, err = bpf(unix.BPF_MAP_FREEZE, newAttr(300).u32(0, uint32(fd)).u32(296, 1))
	show("something behind all attributes", err)
	info := make([]byte, 400)
	info[390] = 1
	_, err = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, newAttr(16).u32(0, uint32(fd)).u32(4, 400).ptr(8, info))
	show("something behind struct bpf_map_info", err)
}

func batch(fd int, in, out, keys, values []byte, count uint32) *attr {
	a := newAttr(56).ptr(8, out).ptr(16, keys).ptr(24, values).u32(32, count).u32(36, uint32(fd))
	if in != nil {
		a.ptr(0, in)
	}
	return a
}

func mapBatch() {
	fd := createMap(unix.BPF_MAP_TYPE_HASH, 4, 8, 64, 0)
	var keys, values []byte
	for i := range uint32(10) {
		keys = append(keys, u32s(i)...)
		values = append(values, u64s(uint64(i)*3)...)
	}
	a := batch(fd, nil, nil, keys, values, 10)
	_, err := bpf(unix.BPF_MAP_UPDATE_BATCH, a)
	show("update", err)
	fmt.Println("count", a.get(32))

	// All at once: the map ends, and what lies behind the last entry stays.
	keys, values = bytes.Repeat([]byte{0xaa}, 4*20), bytes.Repeat([]byte{0xbb}, 8*20)
	out := make([]byte, 4)
	a = batch(fd, nil, out, keys, values, 20)
	_, err = bpf(unix.BPF_MAP_LOOKUP_BATCH, a)
	show("lookup", err)
	n := a.get(32)
	fmt.Println("count", n, pairs(keys[:4*n], values[:8*n]))
	fmt.Printf("behind: %x %x\n", keys[4*n:4*n+4], values[8*n:8*n+8])

	// Too small for a bucket.
	a = batch(fd, nil, out, keys[:0:0], values[:0:0], 0)
	_, err = bpf(unix.BPF_MAP_LOOKUP_BATCH, a)
	show("lookup of none", err)

	// In pieces, taking them away.
	var got []string
	var in []byte
	for {
		keys, values = make([]byte, 4*4), make([]byte, 8*4)
		a = batch(fd, in, out, keys, values, 4)
		_, err = bpf(unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH, a)
		got = append(got, pairs(keys[:4*a.get(32)], values[:8*a.get(32)])...)
		if err != nil {
			break
		}
		in = append([]byte(nil), out...)
	}
	sort.Strings(got)
	show("lookup and delete", err)
	fmt.Println(got)
	_, err = next(fd, nil, 4)
	show("next key", err)

	// One of the keys is not there: those before it are gone.
	for i := range uint32(3) {
		check("update", update(fd, u32s(i), u64s(1)))
	}
	a = batch(fd, nil, nil, u32s(0, 1, 99, 2), nil, 4)
	_, err = bpf(unix.BPF_MAP_DELETE_BATCH, a)
	show("delete", err)
	fmt.Println("count", a.get(32))
	_, err = lookup(fd, u32s(2), 8)
	show("behind the missing one", err)
	a = batch(99, nil, nil, u32s(0), nil, 1)
	_, err = bpf(unix.BPF_MAP_DELETE_BATCH, a)
	show("no map", err)
}

func pairs(keys, values []byte) []string {
	var list []string
	for i := 0; i < len(keys)/4; i++ {
		list = append(list, fmt.Sprintf("%d=%d", le.Uint32(keys[4*i:]), le.Uint64(values[8*i:])))
	}
	sort.Strings(list)
	return list
}

// possible is the number of processors that per-CPU values are for.
func possible() int {
	cpus, err := unix.Open("/sys/devices/system/cpu/possible", unix.O_RDONLY, 0)
	check("possible", err)
	defer unix.Close(cpus)
	b := make([]byte, 64)
	n, err := unix.Read(cpus, b)
	check("possible", err)
	var first, last int
	if k, _ := fmt.Sscanf(string(b[:n]), "%d-%d", &first, &last); k < 2 {
		last = first
	}
	return last + 1
}

func mapPerCPU() {
	n := possible()
	for _, m := range []struct{ kind, entries uint32 }{
		{unix.BPF_MAP_TYPE_PERCPU_HASH, 4},
		{unix.BPF_MAP_TYPE_PERCPU_ARRAY, 4},
		// Each CPU takes 128 free elements at a time (kernel/bpf/bpf_lru_list.c):
		// a small map drops what is in use when the thread changes its CPU.
		{unix.BPF_MAP_TYPE_LRU_PERCPU_HASH, 4096},
	} {
		fd := createMap(m.kind, 4, 12, m.entries, 0)
		var value []byte
		for cpu := range n {
			value = append(value, u32s(uint32(cpu), 7, 8, 0)...)
		}
		for k := range uint32(3) {
			check("update", update(fd, u32s(k), value))
		}
		got, err := lookup(fd, u32s(1), 16*n)
		fmt.Println(m.kind, err, bytes.Equal(got, value))
		fmt.Println(walk(fd, 4, 16*n))
	}
}

// mapFDs stores descriptors in maps.
func mapFDs() {
	inner := filled(unix.BPF_MAP_TYPE_HASH, 2, 8)
	other := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 8, 0)
	for _, kind := range []uint32{unix.BPF_MAP_TYPE_ARRAY_OF_MAPS, unix.BPF_MAP_TYPE_HASH_OF_MAPS} {
		fd, err := bpf(unix.BPF_MAP_CREATE, newAttr(72).u32(0, kind).u32(4, 4).u32(8, 4).u32(12, 2).u32(20, uint32(inner)))
		check("map in map", err)
		show("update", update(fd, u32s(0), u32s(uint32(inner))))
		show("update with another kind", update(fd, u32s(1), u32s(uint32(other))))
		show("update with no map", update(fd, u32s(1), u32s(1)))
		id, err := lookup(fd, u32s(0), 4)
		fmt.Println("id", err, le.Uint32(id) == mapID(inner))
		again, err := bpf(unix.BPF_MAP_GET_FD_BY_ID, newAttr(16).u32(0, le.Uint32(id)))
		check("by id", err)
		value, err := lookup(again, u32s(1), 8)
		fmt.Println(value, err)
	}
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(7))
	progs := createMap(unix.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0)
	show("program", update(progs, u32s(0), u32s(uint32(prog))))
	show("no program", update(progs, u32s(1), u32s(uint32(inner))))
	id, err := lookup(progs, u32s(0), 4)
	fmt.Println("id", err, le.Uint32(id) == progID(prog))

	cgroup, err := unix.Open(cgroupDir(), unix.O_DIRECTORY|unix.O_RDONLY, 0)
	check("open cgroup", err)
	cgroups := createMap(unix.BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 2, 0)
	show("cgroup", update(cgroups, u32s(0), u32s(uint32(cgroup))))
	show("no cgroup", update(cgroups, u32s(1), u32s(uint32(inner))))

	events := createMap(unix.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0)
	ev := openEvent(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_BPF_OUTPUT, 0, -1)
	show("event", update(events, u32s(0), u32s(uint32(ev))))
	show("no event", update(events, u32s(1), u32s(uint32(inner))))

	for _, kind := range []uint32{unix.BPF_MAP_TYPE_CPUMAP, unix.BPF_MAP_TYPE_DEVMAP, unix.BPF_MAP_TYPE_DEVMAP_HASH} {
		for _, size := range []uint32{4, 8} {
			fd, err := tryMap(kind, 4, size, 2, 0)
			show(fmt.Sprintf("map type %d with values of %d", kind, size), err)
			if err != nil {
				continue
			}
			what := u32s(1, 0)
			if kind == unix.BPF_MAP_TYPE_CPUMAP {
				what = u32s(64, 0)
			}
			show("update", update(fd, u32s(0), what[:size]))
			if size == 8 {
				what = u32s(what32(what), uint32(xdpFor(kind)))
				show("with a program", update(fd, u32s(0), what))
				show("with no program", update(fd, u32s(0), u32s(what32(what), 1)))
			}
			got, err := lookup(fd, u32s(0), int(size))
			fmt.Println("first word", err, le.Uint32(got) == what32(what))
		}
	}
}

func what32(b []byte) uint32 { return le.Uint32(b) }

// xdpFor returns a program that entries of a map of that kind may have.
func xdpFor(kind uint32) int {
	attach := uint32(unix.BPF_XDP_DEVMAP)
	if kind == unix.BPF_MAP_TYPE_CPUMAP {
		attach = unix.BPF_XDP_CPUMAP
	}
	return loadWith(unix.BPF_PROG_TYPE_XDP, returns(2), func(a *attr) { a.u32(68, attach) })
}

// mapStorage uses maps whose keys are descriptors.
func mapStorage() {
	pidfd, err := unix.PidfdOpen(1, 0)
	check("pidfd_open", err)
	cgroup, err := unix.Open(cgroupDir(), unix.O_DIRECTORY|unix.O_RDONLY, 0)
	check("open cgroup", err)
	const noPrealloc = 1
	for _, c := range []struct {
		name string
		kind uint32
		key  int
	}{
		{"task", unix.BPF_MAP_TYPE_TASK_STORAGE, pidfd},
		{"cgroup", unix.BPF_MAP_TYPE_CGRP_STORAGE, cgroup},
	} {
		fd, err := storageMap(c.kind, noPrealloc)
		show(c.name+" storage", err)
		if err != nil {
			continue
		}
		show("update", update(fd, u32s(uint32(c.key)), u64s(42)))
		value, err := lookup(fd, u32s(uint32(c.key)), 8)
		fmt.Println(value, err)
		_, err = next(fd, nil, 4)
		show("next key", err)
		show("delete", remove(fd, u32s(uint32(c.key))))
		_, err = lookup(fd, u32s(uint32(c.key)), 8)
		show("lookup", err)
		_, err = lookup(fd, u32s(1), 8)
		show("a key that is none", err)
	}
}

// storageMap makes a map of local storage, whose values need types.
func storageMap(kind, flags uint32) (int, error) {
	strs := []byte("\x00int\x00long\x00")
	types := append(u32s(1, 1<<24, 4, 1<<24|32), u32s(5, 1<<24, 8, 1<<24|64)...)
	raw := append([]byte{0x9f, 0xeb, 1, 0}, u32s(24, 0, uint32(len(types)), uint32(len(types)), uint32(len(strs)))...)
	raw = append(append(raw, types...), strs...)
	btf, err := bpf(unix.BPF_BTF_LOAD, newAttr(28).ptr(0, raw).u32(16, uint32(len(raw))))
	check("BTF", err)
	return bpf(unix.BPF_MAP_CREATE, newAttr(72).u32(0, kind).u32(4, 4).u32(8, 8).u32(16, flags).
		u32(48, uint32(btf)).u32(52, 1).u32(56, 2))
}

// mapHuge has values that are larger than most.
func mapHuge() {
	const size = 3 << 20
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, size, 2, 0)
	value := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	show("update", update(fd, u32s(1), value))
	got, err := lookup(fd, u32s(1), size)
	fmt.Println(err, bytes.Equal(got, value))
	got, err = lookup(fd, u32s(0), size)
	fmt.Println(err, bytes.Equal(got, make([]byte, size)))
}
