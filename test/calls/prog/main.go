// Command prog makes bpf(2), perf_event_open(2) and related calls and prints
// what came of them. The tests run it natively and through bpfctl: both runs
// must print the same.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

// cases are what the program can do, by name. Each file adds its own.
var cases = map[string]func(){}

// helpers are what a case runs in another process.
var helpers = map[string]func([]string){}

func main() {
	if len(os.Args) < 2 {
		names := make([]string, 0, len(cases))
		for name := range cases {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Println(name)
		}
		return
	}
	if help := helpers[os.Args[1]]; help != nil {
		help(os.Args[2:])
		return
	}
	run := cases[os.Args[1]]
	if run == nil {
		fmt.Fprintln(os.Stderr, "no such case:", os.Args[1])
		os.Exit(2)
	}
	run()
	if os.Getenv("COUNT_CALLS") != "" {
		counts.Range(func(name, n any) bool {
			fmt.Fprintln(os.Stderr, "count", name, n.(*atomic.Int64).Load())
			return true
		})
	}
}

// counts are the calls that were made, by what bpfctl's trace calls them: a
// command of bpf(2) by its number.
var counts sync.Map

func count(name string) {
	n, _ := counts.LoadOrStore(name, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// check ends the program if a call failed that every kernel here can make.
func check(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %+v\n", what, err)
		os.Exit(1)
	}
}

// show prints a call's error as the kernel names it.
func show(what string, err error) {
	switch e := err.(type) {
	case nil:
		fmt.Printf("%s: ok\n", what)
	case unix.Errno:
		name := unix.ErrnoName(e)
		if name == "" {
			name = e.Error() // ENOTSUPP and other numbers of the kernel's own
		}
		fmt.Printf("%s: %s\n", what, name)
	default:
		fmt.Printf("%s: %v\n", what, err)
	}
}

// attr is union bpf_attr and what its pointers keep alive.
type attr struct {
	b    []byte
	keep [][]byte
}

func newAttr(size int) *attr { return &attr{b: make([]byte, size, max(size, 8))} }

func (a *attr) u32(off int, v uint32) *attr { le.PutUint32(a.b[off:], v); return a }
func (a *attr) u64(off int, v uint64) *attr { le.PutUint64(a.b[off:], v); return a }
func (a *attr) ptr(off int, p []byte) *attr {
	a.keep = append(a.keep, p)
	return a.u64(off, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))))
}
func (a *attr) str(off int, s string) *attr { return a.ptr(off, append([]byte(s), 0)) }
func (a *attr) get(off int) uint32          { return le.Uint32(a.b[off:]) }

// bpf makes a call with the whole of a.
func bpf(cmd int, a *attr) (int, error) {
	count(fmt.Sprint(cmd))
	n, _, e := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(unsafe.Pointer(unsafe.SliceData(a.b))), uintptr(len(a.b)))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// u32s and u64s lay out numbers as the kernel reads them.
func u32s(list ...uint32) []byte {
	var b []byte
	for _, v := range list {
		b = le.AppendUint32(b, v)
	}
	return b
}

func u64s(list ...uint64) []byte {
	var b []byte
	for _, v := range list {
		b = le.AppendUint64(b, v)
	}
	return b
}
