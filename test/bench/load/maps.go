package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

func lookup(n int) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16})
	if err != nil {
		return err
	}
	defer m.Close()
	key, value := uint32(1), uint64(2)
	if err := m.Put(&key, &value); err != nil {
		return err
	}
	return median(n, n, func() error { return m.Lookup(&key, &value) })
}

// walk prints what a call takes of those that look up all entries of a map, key
// by key: as many for the keys as for the values, and one which finds the end.
func walk(n int) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: uint32(2 * n)})
	if err != nil {
		return err
	}
	defer m.Close()
	for i := range uint32(n) {
		if err := m.Put(i, uint64(i)); err != nil {
			return err
		}
	}
	key, value := make([]byte, 4), make([]byte, 8)
	return median(1, 2*n+1, func() error {
		var from any
		seen := 0
		for ; ; seen++ {
			err := m.NextKey(from, key)
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				break
			}
			if err == nil {
				err = m.Lookup(key, value)
			}
			if err != nil {
				return err
			}
			from = key
		}
		if seen != n {
			return fmt.Errorf("a walk over %d entries found %d", n, seen)
		}
		return nil
	})
}
