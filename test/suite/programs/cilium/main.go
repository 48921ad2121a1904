// Command cilium uses BPF through github.com/cilium/ebpf, one feature at a
// time. What it prints is the same each time.
package main

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// features are what can be asked for on the command line.
var features = map[string]func() error{
	"ringbuf":    ringBuffer,
	"perf":       perfBuffer,
	"links":      links,
	"batch":      batch,
	"per-CPU":    perCPU,
	"map-in-map": mapInMap,
	"walk":       walk,
	"iterator":   iterator,
	"pin":        pin,
}

func main() {
	err := fmt.Errorf("usage: cilium FEATURE [FILE]")
	if len(os.Args) > 1 && features[os.Args[1]] != nil {
		// Kernels before 5.11 count maps against it.
		if err = rlimit.RemoveMemlock(); err == nil {
			err = features[os.Args[1]]()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cilium:", err)
		os.Exit(1)
	}
}

const entries = 1000

// filled returns a map of n entries, key → 3 × key.
func filled(name string, t ebpf.MapType, n uint32) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: t, KeySize: 4, ValueSize: 8, MaxEntries: n})
	if err != nil {
		return nil, err
	}
	for k := range n {
		if err := m.Put(k, uint64(3*k)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// batch updates, reads and deletes many entries at once.
func batch() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 2 * entries})
	if err != nil {
		return err
	}
	defer m.Close()
	keys, values := make([]uint32, entries), make([]uint64, entries)
	for i := range keys {
		keys[i], values[i] = uint32(i), uint64(2*i)
	}
	n, err := m.BatchUpdate(keys, values, nil)
	fmt.Println("updated", n, err)
	var cursor ebpf.MapBatchCursor
	gotKeys, gotValues := make([]uint32, 2*entries), make([]uint64, 2*entries)
	n, err = m.BatchLookup(&cursor, gotKeys, gotValues, nil)
	right := 0
	for i := range n {
		if gotValues[i] == 2*uint64(gotKeys[i]) {
			right++
		}
	}
	fmt.Println("looked up", n, "of which right", right, err)
	n, err = m.BatchDelete(keys[:entries/2], nil)
	fmt.Println("deleted", n, err)
	var last ebpf.MapBatchCursor
	n, err = m.BatchLookupAndDelete(&last, gotKeys, gotValues, nil)
	fmt.Println("looked up and deleted", n, err)
	return nil
}

// perCPU writes a value for each CPU and reads them again.
func perCPU() error {
	for _, t := range []ebpf.MapType{ebpf.PerCPUArray, ebpf.PerCPUHash} {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: t, KeySize: 4, ValueSize: 8, MaxEntries: 2})
		if err != nil {
			return err
		}
		defer m.Close()
		values := make([]uint64, ebpf.MustPossibleCPU())
		for i := range values {
			values[i] = uint64(100 + i)
		}
		if err := m.Put(uint32(1), values); err != nil {
			return err
		}
		var got []uint64
		if err := m.Lookup(uint32(1), &got); err != nil {
			return err
		}
		fmt.Println(t, got)
	}
	return nil
}

// mapInMap puts a map into another, and finds it there by its id.
func mapInMap() error {
	inner, err := filled("filled", ebpf.Array, 4)
	if err != nil {
		return err
	}
	defer inner.Close()
	for _, t := range []ebpf.MapType{ebpf.ArrayOfMaps, ebpf.HashOfMaps} {
		outer, err := ebpf.NewMap(&ebpf.MapSpec{Type: t, KeySize: 4, ValueSize: 4, MaxEntries: 2,
			InnerMap: &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 4}})
		if err != nil {
			return err
		}
		defer outer.Close()
		if err := outer.Put(uint32(1), inner); err != nil {
			return err
		}
		var found *ebpf.Map
		if err := outer.Lookup(uint32(1), &found); err != nil {
			return err
		}
		defer found.Close()
		var value uint64
		if err := found.Lookup(uint32(3), &value); err != nil {
			return err
		}
		fmt.Println(t, "holds", found.Type(), "with", value)
	}
	return nil
}

// walk visits all entries of a map, deletes each second one, and visits the
// others.
func walk() error {
	m, err := filled("filled", ebpf.Hash, entries)
	if err != nil {
		return err
	}
	defer m.Close()
	for range 2 {
		var key uint32
		var value uint64
		var odd []uint32
		seen, right := 0, 0
		visit := m.Iterate()
		for visit.Next(&key, &value) {
			seen++
			if value == 3*uint64(key) {
				right++
			}
			if key%2 == 1 {
				odd = append(odd, key)
			}
		}
		fmt.Println("entries", seen, "of which right", right, visit.Err())
		for _, key := range odd {
			if err := m.Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// pin pins a map to a file, loads it from there, and unpins it.
func pin() error {
	m, err := filled("filled", ebpf.Array, 4)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Pin(os.Args[2]); err != nil {
		return err
	}
	again, err := ebpf.LoadPinnedMap(os.Args[2], nil)
	if err != nil {
		return err
	}
	defer again.Close()
	var value uint64
	if err := again.Lookup(uint32(2), &value); err != nil {
		return err
	}
	fmt.Println(again.Type(), "pinned, with", value)
	if err := again.Unpin(); err != nil {
		return err
	}
	_, err = os.Stat(os.Args[2])
	fmt.Println("unpinned:", os.IsNotExist(err))
	return nil
}
