package symbols

import (
	"strconv"
	"strings"
)

// Demangle returns the C++ name that a symbol stands for, as c++filt(1) prints
// it; or the symbol if it stands for none, or for one that uses what is rare in
// functions' names (expressions in signatures). Names are those of the Itanium
// C++ ABI, section 5.1. github.com/ianlancetaylor/demangle knows them all, and
// takes 600 kB, a quarter of the daemon.
func Demangle(symbol string) (name string) {
	if !strings.HasPrefix(symbol, "_Z") || len(symbol) > maxMangled {
		return symbol
	}
	defer func() {
		if err := recover(); err == errMangled {
			name = symbol
		} else if err != nil {
			panic(err)
		}
	}()
	p := &demangler{s: symbol, i: 2, pack: -1}
	name = p.encoding()
	return name + p.clones()
}

const (
	maxMangled = 4 << 10
	maxNames   = 64 << 10 // bytes of a name: substitutions can double it at each step
	maxDepth   = 200
)

type mangledError struct{}

var errMangled any = mangledError{}

// demangler reads a mangled name from left to right.
type demangler struct {
	s     string
	i     int
	subs  []node
	args  []node // those that T_, T0_ … refer to
	depth int
	pack  int // element of a pack that is expanded, -1 outside of one
	size  int // of the pack that was met
}

// node is a type or a name: what is printed before and behind what is declared.
type node struct {
	l, r string
	kind byte   // function, array, pack or 0
	pack []node // elements of a pack

	tight bool // a function that returns a pointer to one: no blank between l and r
}

const (
	function = 'F'
	array    = 'A'
	pack     = 'J'
)

func (n node) String() string {
	switch n.kind {
	case function, array:
		return n.before() + n.r
	case pack:
		return join(n.pack)
	}
	return n.l + n.r
}

// before is what stands before a function's parameters or an array's size.
func (n node) before() string {
	if n.tight {
		return n.l
	}
	return n.l + " "
}

// wrap makes a pointer or a reference to n.
func (n node) wrap(mark string) node {
	switch n.kind {
	case function:
		return node{l: n.before() + "(" + mark, r: ")" + n.r}
	case array:
		return node{l: n.l + " (" + mark, r: ") " + n.r}
	}
	// A reference to a reference is one, && only to &&.
	if mark[0] == '&' && strings.HasSuffix(n.l, "&") {
		if mark == "&" {
			n.l = strings.TrimSuffix(n.l, "&&")
			n.l = strings.TrimSuffix(n.l, "&") + "&"
		}
		return n
	}
	return node{l: n.l + mark, r: n.r}
}

// join prints a list; packs may be empty.
func join(list []node) string {
	var parts []string
	for _, n := range list {
		if s := n.String(); s != "" || n.kind != pack {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

func (p *demangler) fail() { panic(errMangled) }

func (p *demangler) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *demangler) next() byte {
	c := p.peek()
	if c == 0 {
		p.fail()
	}
	p.i++
	return c
}

// take consumes a prefix if it is there.
func (p *demangler) take(prefix string) bool {
	if strings.HasPrefix(p.s[p.i:], prefix) {
		p.i += len(prefix)
		return true
	}
	return false
}

func (p *demangler) expect(prefix string) {
	if !p.take(prefix) {
		p.fail()
	}
}

// enter bounds how deep and how long names get.
func (p *demangler) enter(names ...string) {
	p.depth++
	for _, s := range names {
		if len(s) > maxNames {
			p.fail()
		}
	}
	if p.depth > maxDepth {
		p.fail()
	}
}

func (p *demangler) add(n node) {
	if len(n.l)+len(n.r) > maxNames || len(p.subs) > 1000 {
		p.fail()
	}
	p.subs = append(p.subs, n)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads a decimal number.
func (p *demangler) number() int {
	start := p.i
	for isDigit(p.peek()) {
		p.i++
	}
	n, err := strconv.Atoi(p.s[start:p.i])
	if err != nil {
		p.fail()
	}
	return n
}

// ordinal reads what counts from "_", "0_", "1_" …, in the given base.
func (p *demangler) ordinal(base int) int {
	if p.take("_") {
		return 0
	}
	end := strings.IndexByte(p.s[p.i:], '_')
	if end < 0 {
		p.fail()
	}
	n, err := strconv.ParseUint(strings.ToLower(p.s[p.i:p.i+end]), base, 16)
	if err != nil {
		p.fail()
	}
	p.i += end + 1
	return int(n) + 1
}

// clones reads what compilers append to the names of copies.
func (p *demangler) clones() string {
	rest := p.s[p.i:]
	if rest == "" {
		return ""
	}
	if rest[0] != '.' {
		p.fail()
	}
	var b strings.Builder
	parts := strings.Split(rest[1:], ".")
	for i := 0; i < len(parts); {
		clone := "." + parts[i]
		for i++; i < len(parts) && parts[i] != "" && isDigit(parts[i][0]); i++ {
			clone += "." + parts[i]
		}
		b.WriteString(" [clone " + clone + "]")
	}
	return b.String()
}

// specials are the names of what compilers make by themselves.
var specials = []struct{ code, text string }{
	{"TV", "vtable for "}, {"TT", "VTT for "}, {"TI", "typeinfo for "}, {"TS", "typeinfo name for "},
}

// encoding reads the name of a function or of data.
func (p *demangler) encoding() string {
	p.enter()
	defer func() { p.depth-- }()
	for _, s := range specials {
		if p.take(s.code) {
			return s.text + p.typ().String()
		}
	}
	switch {
	case p.take("GTt"):
		return "transaction clone for " + p.encoding()
	case p.take("Th"):
		p.offset()
		return "non-virtual thunk to " + p.encoding()
	case p.take("Tv"):
		p.offset()
		p.offset()
		return "virtual thunk to " + p.encoding()
	case p.take("GV"):
		n, _ := p.name()
		return "guard variable for " + n.String()
	case p.take("TW"):
		n, _ := p.name()
		return "TLS wrapper function for " + n.String()
	case p.take("TH"):
		n, _ := p.name()
		return "TLS init function for " + n.String()
	}
	n, f := p.name()
	if c := p.peek(); c == 0 || c == 'E' || c == '.' {
		return n.String()
	}
	ret := node{}
	if f.template && !f.special {
		ret = p.typ()
		if ret.r == "" && ret.kind == 0 {
			ret.l += " "
		}
	}
	if ret.kind != 0 {
		p.fail()
	}
	return ret.l + n.String() + "(" + p.parameters() + ")" + f.qualifiers + ret.r
}

// offset reads that of a thunk.
func (p *demangler) offset() {
	p.take("n")
	p.number()
	p.expect("_")
}

// parameters reads types to the end of the encoding.
func (p *demangler) parameters() string {
	if p.peek() == 'v' {
		p.i++
		return ""
	}
	var list []node
	for c := p.peek(); c != 0 && c != 'E' && c != '.'; c = p.peek() {
		list = append(list, p.typ())
	}
	if len(list) == 0 {
		p.fail()
	}
	return join(list)
}
