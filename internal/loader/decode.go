package loader

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/cilium/ebpf/btf"
)

// appendJSON appends the value of type t in data as JSON: structs and unions
// as objects, enums by name, arrays of char as strings, pointers as strings in
// hexadecimal. What lies past the end of data is null.
func appendJSON(out []byte, t btf.Type, data []byte) []byte {
	t = btf.UnderlyingType(t)
	size, err := btf.Sizeof(t)
	if err != nil || size > len(data) {
		return append(out, "null"...)
	}
	switch t := t.(type) {
	case *btf.Int:
		return appendInt(out, t, data[:size])
	case *btf.Enum:
		return appendEnum(out, t, getUint(data[:size]))
	case *btf.Float:
		return appendFloat(out, data[:size])
	case *btf.Pointer:
		return fmt.Appendf(out, `"0x%x"`, getUint(data[:size]))
	case *btf.Array:
		return appendArray(out, t, data[:size])
	case *btf.Struct:
		return append(appendMembers(append(out, '{'), t.Members, data), '}')
	case *btf.Union:
		return append(appendMembers(append(out, '{'), t.Members, data), '}')
	}
	return append(out, "null"...)
}

// appendMembers appends the members of a struct or union; those of a member
// without a name as its own.
func appendMembers(out []byte, members []btf.Member, data []byte) []byte {
	for _, m := range members {
		off := int(m.Offset.Bytes())
		if off > len(data) {
			continue
		}
		if m.Name == "" {
			switch inner := btf.UnderlyingType(m.Type).(type) {
			case *btf.Struct:
				out = appendMembers(out, inner.Members, data[off:])
			case *btf.Union:
				out = appendMembers(out, inner.Members, data[off:])
			}
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, m.Name), ':')
		if m.BitfieldSize > 0 {
			out = appendBitfield(out, m, data)
			continue
		}
		out = appendJSON(out, m.Type, data[off:])
	}
	return out
}

// appendBitfield reads a member of some bits, counted from the lowest.
func appendBitfield(out []byte, m btf.Member, data []byte) []byte {
	first := int(m.Offset / 8)
	var window [16]byte
	copy(window[:], data[min(first, len(data)):])
	low, high := binary.LittleEndian.Uint64(window[:]), binary.LittleEndian.Uint64(window[8:])
	shift, bits := uint(m.Offset%8), uint(m.BitfieldSize)
	v := low >> shift
	if shift > 0 {
		v |= high << (64 - shift)
	}
	v = v << (64 - bits) >> (64 - bits)
	switch t := btf.UnderlyingType(m.Type).(type) {
	case *btf.Enum:
		return appendEnum(out, t, v)
	case *btf.Int:
		if t.Encoding == btf.Signed {
			return strconv.AppendInt(out, int64(v<<(64-bits))>>(64-bits), 10)
		}
		if t.Encoding == btf.Bool {
			return strconv.AppendBool(out, v != 0)
		}
	}
	return strconv.AppendUint(out, v, 10)
}

func appendInt(out []byte, t *btf.Int, b []byte) []byte {
	switch {
	case t.Encoding == btf.Bool:
		return strconv.AppendBool(out, getUint(b) != 0)
	case len(b) > 8: // __int128: too wide for many readers' numbers
		return fmt.Appendf(out, `"0x%016x%016x"`, getUint(b[8:]), getUint(b[:8]))
	case t.Encoding == btf.Signed:
		shift := 64 - 8*len(b)
		return strconv.AppendInt(out, int64(getUint(b)<<shift)>>shift, 10)
	}
	return strconv.AppendUint(out, getUint(b), 10)
}

func appendEnum(out []byte, t *btf.Enum, v uint64) []byte {
	mask := ^uint64(0)
	if t.Size < 8 {
		mask = 1<<(8*t.Size) - 1
	}
	for _, e := range t.Values {
		if e.Value&mask == v&mask {
			return strconv.AppendQuote(out, e.Name)
		}
	}
	return strconv.AppendUint(out, v, 10)
}

func appendFloat(out []byte, b []byte) []byte {
	v := math.Float64frombits(getUint(b))
	if len(b) == 4 {
		v = float64(math.Float32frombits(uint32(getUint(b))))
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(out, "null"...)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 8*min(len(b), 8))
}

func appendArray(out []byte, t *btf.Array, b []byte) []byte {
	size, err := btf.Sizeof(t.Type)
	if err != nil {
		return append(out, "null"...)
	}
	if isChar(t.Type) {
		text, _, _ := bytes.Cut(b, []byte{0})
		s, err := json.Marshal(string(text)) // invalid UTF-8 becomes U+FFFD
		if err != nil {
			return append(out, "null"...)
		}
		return append(out, s...)
	}
	out = append(out, '[')
	for i := range int(t.Nelems) {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendJSON(out, t.Type, b[i*size:(i+1)*size])
	}
	return append(out, ']')
}

// isChar says whether a type is char: its name tells, since char has the
// encoding of a signed or unsigned integer.
func isChar(t btf.Type) bool {
	i, ok := btf.UnderlyingType(t).(*btf.Int)
	return ok && i.Size == 1 && (i.Name == "char" || i.Encoding == btf.Char)
}

// getUint reads a little-endian integer of at most 8 bytes.
func getUint(b []byte) uint64 {
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:])
}
