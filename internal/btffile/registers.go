package btffile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// Header and kinds of BTF, include/uapi/linux/btf.h.
const (
	headerLen = 24
	typeLen   = 12
	memberLen = 12
	maxLen    = 0xffff // of members, BTF_MAX_VLEN

	kindInt       = 1
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindFuncProto = 13
	kindVar       = 14
	kindDataSec   = 15
	kindDeclTag   = 17
	kindEnum64    = 19
)

// tails are what follows struct btf_type, by kind: fixed bytes, and each bytes
// for each of vlen, which begin with a name if they are named. A kind that is
// not here has nothing.
var tails = map[uint32]struct {
	fixed, each int
	named       bool
}{
	kindInt: {fixed: 4}, kindArray: {fixed: 12}, kindVar: {fixed: 4}, kindDeclTag: {fixed: 4},
	kindStruct: {each: memberLen, named: true}, kindUnion: {each: memberLen, named: true},
	kindEnum: {each: 8, named: true}, kindEnum64: {each: 12, named: true},
	kindFuncProto: {each: 8, named: true}, kindDataSec: {each: 12},
}

var (
	errNoRegisters = errors.New("the type information has no struct pt_regs")
	errMalformed   = errors.New("the type information is malformed")
)

// WithRegisters returns type information in which struct pt_regs has further
// fields, name → offset in bytes: those by which programs that were compiled for
// another architecture find registers. No type and no string gets another
// number, and the strings are not longer than before, so that what refers to
// them, as the information of modules does, stays valid. The place for names
// that are not there is taken from the longest name that only parameters of
// functions have, which no relocation asks for.
func WithRegisters(data []byte, fields map[string]int32) ([]byte, error) {
	b, err := parseRaw(data)
	if err != nil {
		return nil, err
	}
	found, err := b.find()
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(fields))
	if err := b.name(names, found.victim); err != nil {
		return nil, err
	}
	var members []byte
	for _, name := range names {
		members = le.AppendUint32(members, uint32(b.stringAt(name)))
		members = le.AppendUint32(members, found.word)
		members = le.AppendUint32(members, uint32(fields[name])*8)
	}
	info := le.Uint32(b.types[found.regs+4:])
	vlen := int(info & maxLen)
	if vlen+len(names) > maxLen {
		return nil, errMalformed
	}
	end := found.regs + typeLen + vlen*memberLen
	b.types = slices.Insert(b.types, end, members...)
	le.PutUint32(b.types[found.regs+4:], info+uint32(len(names)))
	return b.marshal(), nil
}

var le = binary.LittleEndian

// raw is type information in parts, each a copy.
type raw struct{ header, types, strings []byte }

func parseRaw(data []byte) (*raw, error) {
	if len(data) < headerLen || !bytes.HasPrefix(data, magicBTF) {
		return nil, errMalformed
	}
	length := uint64(le.Uint32(data[4:]))
	part := func(at int) ([]byte, bool) {
		off, size := length+uint64(le.Uint32(data[at:])), uint64(le.Uint32(data[at+4:]))
		if off+size > uint64(len(data)) {
			return nil, false
		}
		return slices.Clone(data[off : off+size]), true
	}
	types, ok := part(8)
	strings, ok2 := part(16)
	if !ok || !ok2 || length < headerLen || length > uint64(len(data)) {
		return nil, errMalformed
	}
	return &raw{slices.Clone(data[:length]), types, strings}, nil
}

func (b *raw) marshal() []byte {
	le.PutUint32(b.header[8:], 0)
	le.PutUint32(b.header[12:], uint32(len(b.types)))
	le.PutUint32(b.header[16:], uint32(len(b.types)))
	le.PutUint32(b.header[20:], uint32(len(b.strings)))
	return slices.Concat(b.header, b.types, b.strings)
}

// finding is what is changed: where struct pt_regs begins, the number of a type
// of unsigned words, and the string that gives up its place.
type finding struct {
	regs   int
	word   uint32
	victim uint32
}

func (b *raw) find() (finding, error) {
	f := finding{regs: -1}
	parameters, others := map[uint32]bool{}, map[uint32]bool{}
	id := uint32(1)
	for off := 0; off < len(b.types); id++ {
		if off+typeLen > len(b.types) {
			return f, errMalformed
		}
		name, info, size := le.Uint32(b.types[off:]), le.Uint32(b.types[off+4:]), le.Uint32(b.types[off+8:])
		kind, vlen := info>>24&31, int(info&maxLen)
		tail := tails[kind]
		end := off + typeLen + tail.fixed + vlen*tail.each
		if end > len(b.types) {
			return f, errMalformed
		}
		switch {
		// Neither signed nor a character, and 64 bits.
		case kind == kindInt && size == 8 && le.Uint32(b.types[off+typeLen:]) == 64:
			f.word = id
		case kind == kindStruct && b.string(name) == "pt_regs":
			f.regs = off
		}
		others[name] = true
		for at := off + typeLen; tail.named && at < end; at += tail.each {
			if kind == kindFuncProto {
				parameters[le.Uint32(b.types[at:])] = true
			} else {
				others[le.Uint32(b.types[at:])] = true
			}
		}
		off = end
	}
	if f.regs < 0 || f.word == 0 {
		return f, errNoRegisters
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if !others[name] && len(b.string(name)) > len(b.string(f.victim)) {
			f.victim = name
		}
	}
	return f, nil
}

// name makes sure that there are strings for names, the missing ones at the end
// of victim's.
func (b *raw) name(names []string, victim uint32) error {
	var missing []byte
	for _, name := range names {
		if b.stringAt(name) < 0 {
			missing = append(append(missing, 0), name...)
		}
	}
	old := b.string(victim)
	if len(missing) == 0 {
		return nil
	}
	if len(old) <= len(missing) {
		return errNoRegisters
	}
	copy(b.strings[int(victim)+len(old)-len(missing):], missing)
	return nil
}

// string returns the string at an offset, "" if there is none.
func (b *raw) string(off uint32) string {
	if uint64(off) >= uint64(len(b.strings)) {
		return ""
	}
	s, _, ok := bytes.Cut(b.strings[off:], []byte{0})
	if !ok {
		return ""
	}
	return string(s)
}

// stringAt returns the offset of a string, -1 if there is none.
func (b *raw) stringAt(name string) int {
	at := bytes.Index(b.strings, append(append([]byte{0}, name...), 0))
	if at < 0 {
		return -1
	}
	return at + 1
}
