// Package symbols finds names and addresses of functions of the running kernel
// and of processes. What it has read it keeps, and reads again when it has
// changed.
package symbols

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Symbol is what stands at an address.
type Symbol struct {
	Name   string
	Offset uint64 // of the address, from where the symbol begins
	Module string // path of the mapped file; "kernel", or a kernel module's name
}

// Table finds symbols. Its zero value is ready; it is for one goroutine.
type Table struct {
	kernel    kernel
	processes map[int]*process
	files     map[fileID]*file
	size      int // bytes that files hold
}

// Errors wrap errno values: ENOENT for what is not there, EPERM for what the
// kernel hides.

func errNoSymbol(addr uint64) error {
	return fmt.Errorf("no symbol at %#x: %w", addr, unix.ENOENT)
}

func errNoName(name string) error { return fmt.Errorf("no symbol %s: %w", name, unix.ENOENT) }

var errHidden = fmt.Errorf("the kernel hides its addresses, see kptr_restrict in proc(5): %w", unix.EPERM)

var errNoELF = errors.New("no ELF file of this byte order")

// symbol is an entry of a symbol table.
type symbol struct {
	addr, size uint64
	name       uint32 // where the name begins in the table's names
	rank       byte   // 0 global, 1 weak, 2 local
}

// sortSymbols sorts by address; of those at the same place the global one comes
// first.
func sortSymbols(list []symbol) {
	slices.SortFunc(list, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
}

// before returns the index of the last address that is not after addr, of equal
// ones the first; -1 if there is none.
func before(list []symbol, addr uint64) int {
	i, found := slices.BinarySearchFunc(list, addr, func(s symbol, a uint64) int { return cmp.Compare(s.addr, a) })
	if found {
		return i
	}
	return first(list, i-1)
}

// first returns the first of the symbols that begin where number i does.
func first(list []symbol, i int) int {
	for i > 0 && list[i-1].addr == list[i].addr {
		i--
	}
	return i
}
