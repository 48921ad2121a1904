package symbols

import (
	"bytes"
	"strconv"

	"bpfd/internal/sys"
)

// far is how far behind the last symbol before it an address is suspicious: it
// may be in a module that was loaded later.
const far = 1 << 20

// kernel is /proc/kallsyms, and its functions by their addresses.
type kernel struct {
	text      []byte
	functions []symbol
	modules   []byte // /proc/modules when text was read
}

// Kernel returns the function of the kernel at an address.
func (t *Table) Kernel(addr uint64) (Symbol, error) {
	k := &t.kernel
	if err := k.load(); err != nil {
		return Symbol{}, err
	}
	s, ok := k.at(addr)
	if (!ok || s.Offset > far) && k.changed() {
		if err := k.read(); err != nil {
			return Symbol{}, err
		}
		s, ok = k.at(addr)
	}
	if !ok {
		return Symbol{}, errNoSymbol(addr)
	}
	return s, nil
}

// KernelAddress returns the address of a symbol of the kernel, the first with
// that name.
func (t *Table) KernelAddress(name string) (uint64, error) {
	k := &t.kernel
	if err := k.load(); err != nil {
		return 0, err
	}
	addr, ok := k.address(name)
	if !ok && k.changed() {
		if err := k.read(); err != nil {
			return 0, err
		}
		addr, ok = k.address(name)
	}
	if !ok {
		return 0, errNoName(name)
	}
	return addr, nil
}

func (k *kernel) load() error {
	if k.functions != nil {
		return nil
	}
	return k.read()
}

// changed says whether modules came or went.
func (k *kernel) changed() bool {
	now, err := sys.ReadFile("/proc/modules")
	return err == nil && !bytes.Equal(now, k.modules)
}

func (k *kernel) read() error {
	modules, _ := sys.ReadFile("/proc/modules")
	text, err := sys.ReadFile("/proc/kallsyms")
	if err != nil {
		return err
	}
	functions := parseKallsyms(text)
	if len(functions) == 0 {
		return errHidden
	}
	*k = kernel{text: text, functions: functions, modules: modules}
	return nil
}

// parseKallsyms returns the functions, by address.
func parseKallsyms(text []byte) []symbol {
	list := make([]symbol, 0, bytes.Count(text, []byte("\n")))
	for pos := 0; pos < len(text); {
		n := bytes.IndexByte(text[pos:], '\n')
		if n < 0 {
			n = len(text) - pos
		}
		if s, ok := parseKsym(text[pos:pos+n], pos); ok {
			list = append(list, s)
		}
		pos += n + 1
	}
	sortSymbols(list)
	return list
}

// parseKsym reads "ffffffff81000000 T name", which begins at pos. Data, and
// what ARM's assembler marks with $, is left out.
func parseKsym(line []byte, pos int) (symbol, bool) {
	i := bytes.IndexByte(line, ' ')
	if i <= 0 || i+3 >= len(line) || line[i+3] == '$' {
		return symbol{}, false
	}
	kind := line[i+1]
	if bytes.IndexByte([]byte("aAbBdDrR"), kind) >= 0 {
		return symbol{}, false
	}
	addr, ok := parseHex(line[:i])
	s := symbol{addr: addr, name: uint32(pos + i + 3)}
	if kind >= 'a' {
		s.rank = 2
	}
	return s, ok && addr != 0
}

func parseHex(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, len(b) > 0 && len(b) <= 16
}

// at finds the function before an address: kallsyms has no sizes.
func (k *kernel) at(addr uint64) (Symbol, bool) {
	i := before(k.functions, addr)
	if i < 0 {
		return Symbol{}, false
	}
	name, module := k.name(k.functions[i])
	return Symbol{Name: name, Offset: addr - k.functions[i].addr, Module: module}, true
}

// name returns a symbol's name and module.
func (k *kernel) name(s symbol) (name, module string) {
	line, _, _ := bytes.Cut(k.text[s.name:], []byte("\n"))
	n, m, ok := bytes.Cut(line, []byte("\t"))
	if !ok {
		return string(n), "kernel"
	}
	return string(n), string(bytes.Trim(m, "[]"))
}

// address finds a name in the text: any symbol's, data as well.
func (k *kernel) address(name string) (uint64, bool) {
	want := []byte(" " + name)
	for text, base := k.text, 0; ; {
		i := bytes.Index(text, want)
		if i < 0 {
			return 0, false
		}
		after := i + len(want)
		if after == len(text) || text[after] == '\n' || text[after] == '\t' {
			line := k.text[bytes.LastIndexByte(k.text[:base+i], '\n')+1 : base+i]
			addr, err := strconv.ParseUint(string(line[:max(bytes.IndexByte(line, ' '), 0)]), 16, 64)
			return addr, err == nil
		}
		text, base = text[after:], base+after
	}
}
