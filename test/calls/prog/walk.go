package main

import (
	"fmt"
	"os"
	"sort"
	"sync"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func init() {
	cases["walk-print"] = walkPrint
	cases["walk-delete"] = walkDelete
	cases["walk-array"] = walkArray
	cases["walk-kinds"] = walkKinds
	cases["walk-vanished"] = walkVanished
	cases["walk-fresh"] = walkFresh
	cases["walk-frozen"] = walkFrozen
	cases["walk-flood"] = walkFlood
	cases["walk-threads"] = walkThreads
	cases["walk-close"] = walkClose
}

// walk returns keys and sizes of values as a tool would print them.
func walk(fd, ks, vs int) []string {
	var list []string
	var key []byte
	for {
		k, err := next(fd, key, ks)
		if err != nil {
			show("end", err)
			break
		}
		v, err := lookup(fd, k, vs)
		list = append(list, fmt.Sprintf("%x=%x %v", k, v[:min(vs, 16)], err))
		key = k
	}
	sort.Strings(list)
	return list
}

func walkPrint() {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 10000, 16384)
	sum, count := uint64(0), 0
	// As libbpf-tools do: begin after a key that is not there.
	for key := u32s(0xfffffffe); ; count++ {
		k, err := next(fd, key, 4)
		if err != nil {
			show("end", err)
			break
		}
		v, err := lookup(fd, k, 8)
		check("lookup", err)
		sum += le.Uint64(v)
		key = k
	}
	fmt.Println(count, sum)
}

// walkDelete deletes each key, before and after it asks for the next one.
func walkDelete() {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 9000, 16384)
	count := 0
	for {
		k, err := next(fd, nil, 4)
		if err != nil {
			show("end", err)
			break
		}
		check("delete", remove(fd, k))
		if count++; count == 100 {
			break
		}
	}
	var key []byte
	for {
		k, err := next(fd, key, 4)
		if err != nil {
			show("end", err)
			break
		}
		if key != nil {
			check("delete", remove(fd, key))
			count++
		}
		key = k
	}
	show("last", remove(fd, key))
	show("last again", remove(fd, key))
	_, err := lookup(fd, key, 8)
	show("lookup", err)
	_, err = next(fd, nil, 4)
	show("first", err)
	fmt.Println(count)

	// Delete and look up at once.
	check("update", update(fd, u32s(1), u64s(1)))
	check("update", update(fd, u32s(2), u64s(2)))
	k, err := next(fd, nil, 4)
	check("next", err)
	show("delete", remove(fd, k))
	_, err = lookup(fd, k, 8)
	show("lookup", err)
	show("delete", remove(fd, k))
	check("update", update(fd, k, u64s(5)))
	v, err := lookup(fd, k, 8)
	fmt.Println(v, err)
}

// walkArray deletes from a map that cannot.
func walkArray() {
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 5, 0)
	k, err := next(fd, nil, 4)
	fmt.Println(k, err)
	show("delete", remove(fd, k))
	v, err := lookup(fd, k, 8)
	fmt.Println(v, err)
	fmt.Println(walk(fd, 4, 8))
	k, err = next(fd, u32s(77), 4)
	fmt.Println(k, err)
	k, err = next(fd, u32s(4), 4)
	show("after the last", err)
}

func walkKinds() {
	fmt.Println(walk(filled(unix.BPF_MAP_TYPE_LRU_HASH, 100, 4096), 4, 8))
	trie := createMap(unix.BPF_MAP_TYPE_LPM_TRIE, 8, 8, 16, 1)
	for i := range uint32(5) {
		check("update", update(trie, u32s(16+i, 0x0101<<i), u64s(uint64(i))))
	}
	fmt.Println(walk(trie, 8, 8))
	for _, kind := range []uint32{unix.BPF_MAP_TYPE_QUEUE, unix.BPF_MAP_TYPE_STACK} {
		fd := createMap(kind, 0, 8, 4, 0)
		for i := range uint64(3) {
			_, err := bpf(unix.BPF_MAP_UPDATE_ELEM, newAttr(32).u32(0, uint32(fd)).ptr(16, u64s(i)))
			check("push", err)
		}
		for range 4 {
			v := make([]byte, 8)
			_, err := bpf(unix.BPF_MAP_LOOKUP_AND_DELETE_ELEM, newAttr(32).u32(0, uint32(fd)).ptr(16, v))
			fmt.Println(v, err)
		}
		_, err := next(fd, nil, 4)
		show("next", err)
	}
	fd := filled(unix.BPF_MAP_TYPE_HASH, 3, 8)
	k, err := next(fd, nil, 4)
	check("next", err)
	v := make([]byte, 8)
	_, err = bpf(unix.BPF_MAP_LOOKUP_AND_DELETE_ELEM, element(fd, k, v, 0))
	show("lookup and delete", err)
	_, err = lookup(fd, k, 8)
	show("lookup", err)
}

// walkVanished deletes what the walk has not come to yet, and what it is at.
func walkVanished() {
	const n = 6000
	fd := filled(unix.BPF_MAP_TYPE_HASH, n, 16384)
	seen := make(map[string]bool)
	var key []byte
	step := 0
	for {
		k, err := next(fd, key, 4)
		if err != nil {
			show("end", err)
			break
		}
		seen[string(k)] = true
		if step++; step%500 == 0 && step <= 1500 { // natively each one begins the walk anew
			// By another descriptor of the same map.
			other, err := bpf(unix.BPF_MAP_GET_FD_BY_ID, newAttr(16).u32(0, mapID(fd)))
			check("by id", err)
			check("delete", remove(other, k))
			_, err = lookup(fd, k, 8)
			show("gone", err)
			unix.Close(other)
		}
		key = k
	}
	fmt.Println("all seen", len(seen) == n)
}

// walkFresh looks up what has changed since its key was found.
func walkFresh() {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 1, 8)
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, increment(fd))
	k, err := next(fd, nil, 4)
	check("next", err)
	testRun(prog)
	v, err := lookup(fd, k, 8)
	fmt.Println("after a program ran", v, err)
	k, err = next(fd, nil, 4)
	check("next", err)
	other, err := bpf(unix.BPF_MAP_GET_FD_BY_ID, newAttr(16).u32(0, mapID(fd)))
	check("by id", err)
	check("update", update(other, k, u64s(5)))
	v, err = lookup(fd, k, 8)
	fmt.Println("after another descriptor wrote", v, err)
	k, err = next(fd, nil, 4)
	check("next", err)
	_, err = bpf(unix.BPF_MAP_UPDATE_BATCH, batch(fd, nil, nil, k, u64s(6), 1))
	check("batch", err)
	v, err = lookup(fd, k, 8)
	fmt.Println("after a batch", v, err)
}

func walkFrozen() {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 3, 8)
	_, err := bpf(unix.BPF_MAP_FREEZE, newAttr(4).u32(0, uint32(fd)))
	show("freeze", err)
	k, err := next(fd, nil, 4)
	check("next", err)
	show("delete", remove(fd, k))
	show("update", update(fd, k, u64s(1)))
	_, err = bpf(unix.BPF_MAP_FREEZE, newAttr(4).u32(0, uint32(fd)))
	show("freeze again", err)
}

// walkFlood prints and deletes what a program inserts all the time, until the
// map is empty: as bcc does when it clears a map.
func walkFlood() {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 500, 4096)
	// Two new keys for each call of getppid.
	count := filled(unix.BPF_MAP_TYPE_ARRAY, 1, 1)
	insert := func() asm.Instructions {
		return asm.Instructions{
			asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R6, 0, asm.R1, asm.DWord),
			asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
			asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
			asm.LoadMapPtr(asm.R1, fd),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -16),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call(),
		}
	}
	insns := asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, count),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R6, asm.R0),
	}
	insns = append(append(insns, insert()...), insert()...)
	insns = append(insns, asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	prog := loadProg(unix.BPF_PROG_TYPE_TRACEPOINT, insns)
	ev := openEvent(unix.PERF_TYPE_TRACEPOINT, tracepointID("syscalls/sys_enter_getppid"), 0, -1)
	check("attach", ioctl(ev, unix.PERF_EVENT_IOC_SET_BPF, uintptr(prog)))
	check("enable", ioctl(ev, unix.PERF_EVENT_IOC_ENABLE, 0))
	fmt.Println("attached")
	deleted := 0
	var key []byte
	for {
		k, err := next(fd, key, 4)
		if err != nil {
			break
		}
		if remove(fd, k) == nil { // the kernel begins anew after it
			deleted++
		}
		key = k
	}
	fmt.Println("ended", deleted >= 500)
}

// walkThreads has two threads walk a map while a third changes it.
func walkThreads() {
	const n = 3000
	fd := filled(unix.BPF_MAP_TYPE_HASH, n, 8192)
	var wg sync.WaitGroup
	counts := make([]int, 2)
	for i := range counts {
		wg.Add(1)
		go func() {
			defer wg.Done()
			seen := make(map[string]bool)
			var key []byte
			for {
				k, err := next(fd, key, 4)
				if err != nil {
					break
				}
				if v, err := lookup(fd, k, 8); err == nil && le.Uint64(v) == uint64(le.Uint32(k))+1000 {
					seen[string(k)] = true
				}
				key = k
			}
			counts[i] = len(seen)
		}()
	}
	for i := range uint32(200) {
		check("update", update(fd, u32s(n+i%10), u64s(uint64(n+i%10+1000))))
	}
	wg.Wait()
	fmt.Println(counts[0] >= n, counts[1] >= n)
}

// walkClose deletes as many keys as a walk begins with, and closes the map.
func walkClose() {
	const path = "/sys/fs/bpf/bpfd-calls-walk"
	os.Remove(path)
	fd := filled(unix.BPF_MAP_TYPE_HASH, 100, 128)
	_, err := bpf(unix.BPF_OBJ_PIN, newAttr(12).str(0, path).u32(8, uint32(fd)))
	check("pin", err)
	defer os.Remove(path)
	var key []byte
	for range 64 {
		k, err := next(fd, key, 4)
		check("next", err)
		check("delete", remove(fd, k))
		key = k
	}
	unix.Close(fd)
	again, err := bpf(unix.BPF_OBJ_GET, newAttr(12).str(0, path))
	check("get", err)
	fmt.Println(len(walk(again, 4, 8)))
}
