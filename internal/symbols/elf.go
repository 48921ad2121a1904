package symbols

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
)

// The parts of elf(5) that symbols need. debug/elf would take a seventh of the
// daemon's size, for what is not asked for.
const (
	headerSize   = 64
	class64      = 2
	littleEndian = 1
	machineARM   = 40
	typeLoad     = 1 // PT_LOAD
	typeNote     = 4 // PT_NOTE
	symtab       = 2 // SHT_SYMTAB
	dynsym       = 11
	sttFunc      = 2
	sttIfunc     = 10
	noteBuildID  = 3 // NT_GNU_BUILD_ID
	maxTable     = 256 << 20
	maxNote      = 64 << 10
)

// file is what is kept of an ELF file: where its segments are loaded, and its
// functions by address.
type file struct {
	segments  []segment
	functions []symbol
	names     []byte // string tables
	buildID   string
	complete  bool // it has more than the symbols for the dynamic linker
}

// segment says that the bytes from offset off are loaded at addr.
type segment struct{ off, addr, size uint64 }

// reader reads an ELF file's tables; the first error sticks.
type reader struct {
	r    io.ReaderAt
	is64 bool
	err  error
}

func (r *reader) bytes(off, n uint64) []byte {
	if r.err != nil || n > maxTable || off > 1<<62 {
		r.err = cmp.Or(r.err, errNoELF)
		return nil
	}
	// In steps: a size that is a lie must not take memory.
	const step = 1 << 20
	var b []byte
	for n > 0 && r.err == nil {
		m := min(n, step)
		b = append(b, make([]byte, m)...)
		_, r.err = r.r.ReadAt(b[uint64(len(b))-m:], int64(off))
		off, n = off+m, n-m
	}
	if r.err != nil {
		return nil
	}
	return b
}

// word reads an address or a size, at the first offset in 64-bit files and at
// the second in others.
func (r *reader) word(b []byte, off64, off32 int) uint64 {
	if r.is64 {
		return binary.LittleEndian.Uint64(b[off64:])
	}
	return uint64(binary.LittleEndian.Uint32(b[off32:]))
}

func (r *reader) pick(v64, v32 int) int {
	if r.is64 {
		return v64
	}
	return v32
}

// parse reads an ELF file.
func parse(src io.ReaderAt) (*file, error) {
	r := &reader{r: src}
	h := r.bytes(0, headerSize)
	if r.err != nil {
		return nil, r.err
	}
	if string(h[:4]) != "\x7fELF" || h[5] != littleEndian {
		return nil, errNoELF
	}
	r.is64 = h[4] == class64
	f := &file{}
	f.readSegments(r, h)
	f.readSymbols(r, h)
	if r.err != nil {
		return nil, r.err
	}
	sortSymbols(f.functions)
	return f, nil
}

func (f *file) readSegments(r *reader, h []byte) {
	counts := h[r.pick(54, 42):] // e_phentsize, e_phnum
	size, n := int(binary.LittleEndian.Uint16(counts)), int(binary.LittleEndian.Uint16(counts[2:]))
	if n == 0 || size < r.pick(56, 32) {
		return
	}
	table := r.bytes(r.word(h, 32, 28), uint64(size*n))
	for ; len(table) > 0; table = table[size:] {
		s := segment{off: r.word(table, 8, 4), addr: r.word(table, 16, 8), size: r.word(table, 32, 16)}
		switch binary.LittleEndian.Uint32(table) {
		case typeLoad:
			f.segments = append(f.segments, s)
		case typeNote:
			if s.size <= maxNote && f.buildID == "" {
				f.buildID = buildID(r.bytes(s.off, s.size))
			}
		}
	}
}

// buildID finds the build-id among notes.
func buildID(b []byte) string {
	for len(b) >= 12 {
		name, desc := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
		kind := binary.LittleEndian.Uint32(b[8:])
		from := 12 + (name+3)&^3
		if from+desc > uint64(len(b)) {
			return ""
		}
		if kind == noteBuildID && string(b[12:12+name]) == "GNU\x00" {
			return fmt.Sprintf("%x", b[from:from+desc])
		}
		b = b[min(from+(desc+3)&^3, uint64(len(b))):]
	}
	return ""
}

func (f *file) readSymbols(r *reader, h []byte) {
	counts := h[r.pick(58, 46):] // e_shentsize, e_shnum
	size, n := int(binary.LittleEndian.Uint16(counts)), int(binary.LittleEndian.Uint16(counts[2:]))
	if n == 0 || size < r.pick(64, 40) {
		return
	}
	arm := binary.LittleEndian.Uint16(h[18:]) == machineARM
	table := r.bytes(r.word(h, 40, 32), uint64(size*n))
	section := func(i int) (off, length uint64) {
		s := table[i*size:]
		return r.word(s, 24, 16), r.word(s, 32, 20)
	}
	for i := 0; r.err == nil && i < n; i++ {
		kind := binary.LittleEndian.Uint32(table[i*size+4:])
		link := int(binary.LittleEndian.Uint32(table[i*size+r.pick(40, 24):]))
		if kind != symtab && kind != dynsym || link >= n {
			continue
		}
		f.complete = f.complete || kind == symtab
		symbols := r.bytes(section(i))
		names := r.bytes(section(link))
		f.add(r, symbols, names, arm)
	}
}

// add takes the functions out of a symbol table.
func (f *file) add(r *reader, symbols, names []byte, arm bool) {
	if len(f.names)+len(names) > maxTable {
		return
	}
	size := r.pick(24, 16)
	for ; len(symbols) >= size; symbols = symbols[size:] {
		info := symbols[r.pick(4, 12)]
		index := binary.LittleEndian.Uint16(symbols[r.pick(6, 14):])
		name := binary.LittleEndian.Uint32(symbols)
		if kind := info & 15; kind != sttFunc && kind != sttIfunc || index == 0 || name >= uint32(len(names)) {
			continue
		}
		s := symbol{addr: r.word(symbols, 8, 4), size: r.word(symbols, 16, 8), name: name + uint32(len(f.names))}
		if arm {
			s.addr &^= 1 // Thumb code
		}
		switch info >> 4 {
		case 0:
			s.rank = 2
		case 2:
			s.rank = 1
		}
		f.functions = append(f.functions, s)
	}
	f.names = append(append(f.names, names...), 0)
}

func (f *file) name(s symbol) string {
	b, _, _ := bytes.Cut(f.names[s.name:], []byte{0})
	return string(b)
}

// nested is how many symbols before an address are looked at: the one that
// begins last may end before it, inside of a larger one.
const nested = 16

// at finds the function at an address of the file.
func (f *file) at(addr uint64) (symbol, bool) {
	last := before(f.functions, addr)
	for i := last; i >= 0 && i > last-nested; i = first(f.functions, i-1) {
		s := f.functions[i]
		// Assembly may give no size: it goes on to the next one.
		if addr-s.addr < s.size || s.size == 0 && i == last {
			return s, true
		}
	}
	return symbol{}, false
}

// named finds the function with a name.
func (f *file) named(name string) (symbol, bool) {
	for _, s := range f.functions {
		b := f.names[s.name:]
		if len(b) > len(name) && b[len(name)] == 0 && string(b[:len(name)]) == name {
			return s, true
		}
	}
	return symbol{}, false
}

// address returns where the byte at an offset of the file is loaded.
func (f *file) address(off uint64) (uint64, bool) {
	for _, s := range f.segments {
		if off >= s.off && off-s.off < s.size {
			return off - s.off + s.addr, true
		}
	}
	return 0, false
}

// offset is the reverse of address.
func (f *file) offset(addr uint64) (uint64, bool) {
	for _, s := range f.segments {
		if addr >= s.addr && addr-s.addr < s.size {
			return addr - s.addr + s.off, true
		}
	}
	return 0, false
}
