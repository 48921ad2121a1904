// Command load is a BPF tool that does one thing many times and prints how
// long each time took, in nanoseconds. It is run natively and through bpfctl.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// loads are what can be measured.
var loads = map[string]func(n int) error{
	"lookup":  lookup,
	"update":  update,
	"getppid": getppid,
}

func main() {
	n, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = loads[os.Args[1]](n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// report prints the median of rounds of n operations.
func report(n int, op func() error) error {
	const rounds = 9
	best := make([]float64, 0, rounds)
	for range rounds {
		start := time.Now()
		for range n {
			if err := op(); err != nil {
				return err
			}
		}
		best = append(best, float64(time.Since(start).Nanoseconds())/float64(n))
	}
	fmt.Printf("%.0f\n", median(best))
	return nil
}

func median(v []float64) float64 {
	for i := range v {
		for j := i; j > 0 && v[j] < v[j-1]; j-- {
			v[j], v[j-1] = v[j-1], v[j]
		}
	}
	return v[len(v)/2]
}

func newMap() (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16})
}

func lookup(n int) error {
	m, err := newMap()
	if err != nil {
		return err
	}
	key, value := uint32(1), uint64(2)
	if err := m.Put(key, value); err != nil {
		return err
	}
	return report(n, func() error { return m.Lookup(&key, &value) })
}

func update(n int) error {
	m, err := newMap()
	if err != nil {
		return err
	}
	key, value := uint32(1), uint64(2)
	return report(n, func() error { return m.Put(&key, &value) })
}

func getppid(n int) error {
	return report(n, func() error { unix.Getppid(); return nil })
}
