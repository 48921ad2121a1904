package symbols

import (
	"strconv"
	"strings"
)

// facts are what the end of a name says of what it names.
type facts struct {
	template   bool   // its own arguments follow: it has a return type
	special    bool   // constructor, destructor, or conversion: it has none
	qualifiers string // of this
}

// name reads a name with its scopes.
func (p *demangler) name() (node, facts) {
	p.enter()
	defer func() { p.depth-- }()
	switch {
	case p.take("N"):
		return p.nested()
	case p.take("Z"):
		return p.local()
	}
	var n node
	var f facts
	if p.peek() == 'S' && !strings.HasPrefix(p.s[p.i:], "St") {
		n = p.substitution()
	} else {
		prefix := ""
		if p.take("St") {
			prefix = "std::"
		}
		var s string
		s, f.special = p.unqualified("")
		n = node{l: prefix + s}
		if p.peek() == 'I' {
			p.add(n)
		}
	}
	if p.peek() == 'I' {
		n.l = spaced(n.l) + p.arguments()
		f.template = true
	}
	return n, f
}

// spaced keeps operator< and operator<< apart from their arguments.
func spaced(name string) string {
	if strings.HasSuffix(name, "<") {
		return name + " "
	}
	return name
}

// nested reads N … E.
func (p *demangler) nested() (node, facts) {
	var f facts
	for _, q := range []struct{ code, text string }{{"r", " restrict"}, {"V", " volatile"}, {"K", " const"}, {"R", " &"}, {"O", " &&"}} {
		if p.take(q.code) {
			f.qualifiers += q.text
		}
	}
	var n node
	for first := true; !p.take("E"); first = false {
		known := false
		switch c := p.peek(); {
		case c == 'S' && first && p.take("St"):
			n, known = node{l: "std"}, true
		case c == 'S' && first:
			n, known = p.substitution(), true
		case c == 'T' && first:
			n = p.parameter()
		case c == 'D' && first && (strings.HasPrefix(p.s[p.i:], "Dt") || strings.HasPrefix(p.s[p.i:], "DT")):
			p.fail()
		case c == 'I' && !first:
			n.l = spaced(n.l) + p.arguments()
			f.template = true
		default:
			var s string
			s, f.special = p.unqualified(n.l)
			f.template = false
			if !first {
				s = "::" + s
			}
			n.l += s
		}
		if !known && p.peek() != 'E' {
			p.add(n)
		}
	}
	return n, f
}

// local reads what is inside of a function.
func (p *demangler) local() (node, facts) {
	outer := p.encoding()
	p.expect("E")
	if p.take("s") {
		p.discriminator()
		return node{l: outer + "::string literal"}, facts{}
	}
	if p.take("d") {
		n := p.ordinal(10) + 1
		outer += "::{default arg#" + strconv.Itoa(n) + "}"
	}
	n, f := p.name()
	p.discriminator()
	n.l = outer + "::" + n.l
	return n, f
}

func (p *demangler) discriminator() {
	switch {
	case p.take("__"):
		p.number()
		p.expect("_")
	case p.peek() == '_':
		p.i++
		if !isDigit(p.next()) {
			p.fail()
		}
	}
}

// unqualified reads the last part of a name, whose scope is given, and says
// whether it is that of a function without a return type.
func (p *demangler) unqualified(scope string) (s string, special bool) {
	p.take("L")
	switch c := p.peek(); {
	case isDigit(c):
		s = p.source()
	case c == 'C' || c == 'D':
		p.i++
		kind := p.next()
		if scope == "" || c == 'C' && (kind < '1' || kind > '5') || c == 'D' && (kind < '0' || kind > '5') {
			p.fail()
		}
		s, special = lastName(scope), true
		if c == 'D' {
			s = "~" + s
		}
	case p.take("Ut"):
		s = "{unnamed type#" + strconv.Itoa(p.ordinal(10)+1) + "}"
	case p.take("Ul"):
		params := p.parameters()
		p.expect("E")
		s = "{lambda(" + params + ")#" + strconv.Itoa(p.ordinal(10)+1) + "}"
	case p.take("cv"):
		s, special = "operator "+p.typ().String(), true
	case p.take("li"):
		s = `operator"" ` + p.source()
	default:
		s = p.operator()
	}
	for p.take("B") {
		s += "[abi:" + p.source() + "]"
	}
	return s, special
}

// source reads a name with its length before it.
func (p *demangler) source() string {
	n := p.number()
	if n <= 0 || n > len(p.s)-p.i {
		p.fail()
	}
	s := p.s[p.i : p.i+n]
	p.i += n
	if strings.HasPrefix(s, "_GLOBAL_") && len(s) > 9 && s[9] == 'N' {
		return "(anonymous namespace)"
	}
	return s
}

// lastName returns the last part of a class's name, without its arguments.
func lastName(s string) string {
	if strings.HasSuffix(s, ">") {
		depth := 0
		for i := len(s) - 1; i >= 0; i-- {
			switch s[i] {
			case '>':
				depth++
			case '<':
				depth--
			}
			if depth == 0 {
				s = s[:i]
				break
			}
		}
	}
	if tag := strings.Index(s, "[abi:"); tag > strings.LastIndex(s, "::") {
		s = s[:tag]
	}
	return s[strings.LastIndex(s, "::")+1:][min(1, strings.Count(s, "::")):]
}
