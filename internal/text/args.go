package text

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// maxArgs is how many arguments a command has at most, not counting those that
// a handler takes from args.rest by itself.
const maxArgs = 8

// args are the arguments of a line. What they refer to is valid until the next
// line is read.
type args struct {
	words [maxArgs][]byte
	nums  [maxArgs]uint64 // values of the numbers, with their sign extended
	rest  []byte          // what follows the arguments of the variant
}

func (a *args) int(i int) int       { return int(int64(a.nums[i])) }
func (a *args) u32(i int) uint32    { return uint32(a.nums[i]) }
func (a *args) u64(i int) uint64    { return a.nums[i] }
func (a *args) string(i int) string { return string(a.words[i]) }

// name returns an argument that names an object, "" for none.
func (a *args) name(i int) string {
	if string(a.words[i]) == noName {
		return ""
	}
	return string(a.words[i])
}

const noName = "__none__"

// handler runs a command. The first argument is number 0.
type handler func(*session, *args)

// variant is a form in which a command can be given.
type variant struct {
	dialects string // of the specification's A to E, "" for an extension
	args     string // "name:kind name:kind …"; kinds are below
	run      handler
	kinds    string
}

// The kinds of arguments.
const (
	kindInt    = 'i' // 32 bits, signed
	kindUint   = 'u' // 32 bits; -1 is taken for the largest
	kindUint64 = 'U'
	kindString = 's'
	kindBytes  = 'b' // base64, which the handler decodes
	kindRest   = '*' // any number of words, left to the handler
)

// prepare finds the kinds of a variant's arguments.
func (v *variant) prepare() {
	var kinds []byte
	for _, f := range strings.Fields(v.args) {
		if k := f[len(f)-1]; k != kindRest {
			kinds = append(kinds, k)
		}
	}
	v.kinds = string(kinds)
}

// parse finds the variant that a line is: the one with the most arguments that
// are there. It returns nil if there is none, or if a number is none.
func (c *command) parse(a *args, line, rest []byte) handler {
	if bytes.IndexByte(line, 0) >= 0 {
		return nil
	}
	v := c.pick(rest)
	if v == nil {
		return nil
	}
	for i, kind := range []byte(v.kinds) {
		a.words[i], rest = word(rest)
		var ok bool
		if a.nums[i], ok = number(kind, a.words[i]); !ok {
			return nil
		}
	}
	a.rest = rest
	return v.run
}

// pick chooses the variant by the number of words, and asks the command where
// that is not enough.
func (c *command) pick(rest []byte) *variant {
	var words [maxArgs][]byte
	n := 0
	for ; n < maxArgs; n++ {
		if words[n], rest = word(rest); len(words[n]) == 0 {
			break
		}
	}
	if c.choose != nil {
		if v := &c.variants[c.choose(words[:n])]; len(v.kinds) <= n {
			return v
		}
		return nil
	}
	var best *variant
	for i := range c.variants {
		if len(c.variants[i].kinds) <= n {
			best = &c.variants[i]
		}
	}
	return best
}

// word returns the first word of b, which blanks end, and what follows.
func word(b []byte) (w, rest []byte) {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}

// number reads a number of the given kind; other kinds are always right.
func number(kind byte, w []byte) (uint64, bool) {
	if kind == kindString || kind == kindBytes {
		return 0, true
	}
	if len(w) == 0 || len(w) > 20 || w[0] == '+' {
		return 0, false
	}
	if w[0] == '-' || kind == kindInt {
		v, err := strconv.ParseInt(string(w), 10, 32)
		return uint64(v), err == nil
	}
	bits := 64
	if kind == kindUint {
		bits = 32
	}
	v, err := strconv.ParseUint(string(w), 10, bits)
	return v, err == nil
}

var errBase64 = errors.New("an argument is no base64")

// decode reads base64, padded or not.
func decode(w []byte) ([]byte, error) {
	if len(w)%4 == 0 {
		w = bytes.TrimSuffix(w, []byte("="))
		w = bytes.TrimSuffix(w, []byte("="))
	}
	// Bytes behind the end: the kernel may be told to read them.
	b := make([]byte, base64.RawStdEncoding.DecodedLen(len(w)), base64.RawStdEncoding.DecodedLen(len(w))+8)
	n, err := base64.RawStdEncoding.Decode(b, w)
	if err != nil || bytes.IndexByte(w, '\r') >= 0 {
		return nil, errBase64
	}
	return b[:n], nil
}

// encode appends b in base64.
func encode(dst, b []byte) []byte { return base64.StdEncoding.AppendEncode(dst, b) }
