package symbols

import (
	"strconv"
	"strings"
)

// builtins are the types of one letter.
var builtins = map[byte]string{
	'v': "void", 'w': "wchar_t", 'b': "bool", 'c': "char", 'a': "signed char", 'h': "unsigned char", 's': "short",
	't': "unsigned short", 'i': "int", 'j': "unsigned int", 'l': "long", 'm': "unsigned long", 'x': "long long",
	'y': "unsigned long long", 'n': "__int128", 'o': "unsigned __int128", 'f': "float", 'd': "double", 'e': "long double",
	'g': "__float128", 'z': "...",
}

// builtins2 are those of D and a letter.
var builtins2 = map[byte]string{
	'd': "decimal64", 'e': "decimal128", 'f': "decimal32", 'h': "half", 'i': "char32_t", 's': "char16_t", 'u': "char8_t",
	'a': "auto", 'c': "decltype(auto)", 'n': "decltype(nullptr)",
}

// operators by their codes; those that begin with a letter get a blank.
var operators = map[string]string{
	"nw": "new", "na": "new[]", "dl": "delete", "da": "delete[]", "aw": "co_await", "ps": "+", "ng": "-", "ad": "&", "de": "*",
	"co": "~", "pl": "+", "mi": "-", "ml": "*", "dv": "/", "rm": "%", "an": "&", "or": "|", "eo": "^", "aS": "=", "pL": "+=",
	"mI": "-=", "mL": "*=", "dV": "/=", "rM": "%=", "aN": "&=", "oR": "|=", "eO": "^=", "ls": "<<", "rs": ">>", "lS": "<<=",
	"rS": ">>=", "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=", "ss": "<=>", "nt": "!", "aa": "&&",
	"oo": "||", "pp": "++", "mm": "--", "cm": ",", "pm": "->*", "pt": "->", "cl": "()", "ix": "[]", "qu": "?",
}

func (p *demangler) operator() string {
	if p.i+2 > len(p.s) {
		p.fail()
	}
	op := operators[p.s[p.i:p.i+2]]
	if op == "" {
		p.fail()
	}
	p.i += 2
	if op[0] >= 'a' && op[0] <= 'z' {
		op = " " + op
	}
	return "operator" + op
}

// abbreviations are those of the standard library.
var abbreviations = map[byte]string{
	'a': "std::allocator", 'b': "std::basic_string",
	's': "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
	'i': "std::basic_istream<char, std::char_traits<char> >",
	'o': "std::basic_ostream<char, std::char_traits<char> >",
	'd': "std::basic_iostream<char, std::char_traits<char> >",
}

// substitution reads S_, S0_ … and the abbreviations.
func (p *demangler) substitution() node {
	p.expect("S")
	if s, ok := abbreviations[p.peek()]; ok {
		p.i++
		return node{l: s}
	}
	n := p.ordinal(36)
	if n >= len(p.subs) {
		p.fail()
	}
	return p.subs[n]
}

// parameter reads a template's parameter.
func (p *demangler) parameter() node {
	p.expect("T")
	n := p.ordinal(10)
	if n >= len(p.args) {
		p.fail()
	}
	arg := p.args[n]
	if arg.kind == pack && p.pack >= 0 {
		p.size = len(arg.pack)
		if p.pack >= len(arg.pack) {
			return node{kind: pack}
		}
		return arg.pack[p.pack]
	}
	return arg
}

// arguments reads those of a template; T_ refers to them from now on.
func (p *demangler) arguments() string {
	p.enter()
	defer func() { p.depth-- }()
	p.expect("I")
	var list []node
	for !p.take("E") {
		list = append(list, p.argument())
	}
	p.args = list
	s := join(list)
	if strings.HasSuffix(s, ">") {
		s += " "
	}
	return "<" + s + ">"
}

func (p *demangler) argument() node {
	switch {
	case p.take("L"):
		return p.literal()
	case p.take("J"):
		n := node{kind: pack}
		for !p.take("E") {
			n.pack = append(n.pack, p.argument())
		}
		return n
	case p.peek() == 'X':
		p.fail() // an expression
	}
	return p.typ()
}

// suffixes of literals.
var suffixes = map[byte]string{'i': "", 'j': "u", 'l': "l", 'm': "ul", 'x': "ll", 'y': "ull"}

// literal reads what follows L.
func (p *demangler) literal() node {
	if p.take("_Z") {
		s := p.encoding()
		p.expect("E")
		return node{l: s}
	}
	c := p.peek()
	t := p.typ().String()
	sign := ""
	if p.take("n") {
		sign = "-"
	}
	end := strings.IndexByte(p.s[p.i:], 'E')
	if end <= 0 {
		p.fail()
	}
	value := p.s[p.i : p.i+end]
	p.i += end + 1
	if _, err := strconv.ParseUint(value, 10, 64); err != nil {
		p.fail() // a floating point number
	}
	switch suffix, ok := suffixes[c]; {
	case ok:
		return node{l: sign + value + suffix}
	case c == 'b' && value == "0":
		return node{l: "false"}
	case c == 'b' && value == "1":
		return node{l: "true"}
	}
	return node{l: "(" + t + ")" + sign + value}
}

// typ reads a type and keeps it for substitutions, unless it is built in.
func (p *demangler) typ() node {
	p.enter()
	defer func() { p.depth-- }()
	c := p.peek()
	if s, ok := builtins[c]; ok {
		p.i++
		return node{l: s}
	}
	var n node
	switch c {
	case 'u':
		p.i++
		n = node{l: p.source()}
	case 'D':
		if s, ok := builtins2[p.second()]; ok {
			p.i += 2
			return node{l: s}
		}
		if p.take("Dp") {
			return p.expansion()
		}
		p.fail()
	case 'r', 'V', 'K':
		n = p.qualified()
	case 'P', 'R', 'O':
		p.i++
		n = p.typ().wrap(map[byte]string{'P': "*", 'R': "&", 'O': "&&"}[c])
	case 'C':
		p.i++
		n = node{l: p.typ().String() + " _Complex"}
	case 'F':
		n = p.function()
	case 'A':
		n = p.array()
	case 'M':
		n = p.member()
	case 'T':
		n = p.parameter()
		if p.peek() == 'I' {
			p.add(n)
			n.l += p.inner()
		}
	case 'S':
		if p.second() != 't' {
			n = p.substitution()
			if p.peek() != 'I' {
				return n
			}
			n.l += p.inner()
			break
		}
		fallthrough
	default:
		if c != 'S' && c != 'N' && c != 'Z' && !isDigit(c) {
			p.fail()
		}
		n = p.class()
	}
	p.add(n)
	return n
}

func (p *demangler) second() byte {
	if p.i+1 < len(p.s) {
		return p.s[p.i+1]
	}
	return 0
}

// inner reads a type's arguments: T_ keeps referring to those of the function.
func (p *demangler) inner() string {
	outer := p.args
	s := p.arguments()
	p.args = outer
	return s
}

// class reads the name of a class as a type.
func (p *demangler) class() node {
	outer := p.args
	n, _ := p.name()
	p.args = outer
	return n
}

// qualified reads a type with const and its like.
func (p *demangler) qualified() node {
	var quals string
	for {
		switch {
		case p.take("r"):
			quals = " restrict" + quals
			continue
		case p.take("V"):
			quals = " volatile" + quals
			continue
		case p.take("K"):
			quals = " const" + quals
			continue
		}
		break
	}
	n := p.typ()
	if n.kind == function {
		n.r += quals
	} else {
		// What is const already does not become so again by an argument.
		n.l = strings.TrimSuffix(n.l, quals) + quals
	}
	return n
}

// function reads the type of one.
func (p *demangler) function() node {
	p.expect("F")
	p.take("Y")
	ret := p.typ()
	params := p.parameters()
	quals := ""
	if p.take("R") {
		quals = " &"
	} else if p.take("O") {
		quals = " &&"
	}
	p.expect("E")
	return node{l: ret.l, r: "(" + params + ")" + quals + ret.r, kind: function, tight: ret.r != ""}
}

func (p *demangler) array() node {
	p.expect("A")
	size := ""
	if isDigit(p.peek()) {
		size = strconv.Itoa(p.number())
	}
	p.expect("_")
	n := p.typ()
	return node{l: n.l, r: "[" + size + "]" + n.r, kind: array}
}

// member reads a pointer to one.
func (p *demangler) member() node {
	p.expect("M")
	class := p.typ().String()
	n := p.typ()
	if n.kind == function {
		return n.wrap(class + "::*")
	}
	if n.kind == array {
		return n.wrap(class + "::*")
	}
	return node{l: n.l + " " + class + "::*", r: n.r}
}

// expansion reads a pattern once for each element of the pack in it.
func (p *demangler) expansion() node {
	outer, from := p.pack, p.i
	p.pack, p.size = 0, -1
	first := p.typ()
	n, end, subs := p.size, p.i, len(p.subs)
	list := node{kind: pack}
	if n < 0 {
		p.fail()
	}
	if n > 0 {
		list.pack = append(list.pack, first)
	}
	for p.pack = 1; p.pack < n; p.pack++ {
		p.i = from
		list.pack = append(list.pack, p.typ())
		p.subs = p.subs[:subs]
	}
	p.i, p.pack = end, outer
	return list
}
