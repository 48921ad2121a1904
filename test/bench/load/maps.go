package main

import "github.com/cilium/ebpf"

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
	return median(n, func() error { return m.Lookup(&key, &value) })
}
