package loader

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// setGlobals gives global variables their values.
func (o *object) setGlobals(values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := o.spec.Variables[name]
		if v == nil {
			return fmt.Errorf("%s has no global variable %q%s", o.path, name, among(o.spec.Variables))
		}
		if v.Size() == 0 {
			return fmt.Errorf("variable %s has no size", name)
		}
		b := make([]byte, v.Size())
		if err := encodeVariable(b, v, values[name]); err != nil {
			return fmt.Errorf("--set %s=%s: %w", name, values[name], err)
		}
		if err := v.Set(b); err != nil {
			return fmt.Errorf("--set %s=%s: %w", name, values[name], err)
		}
	}
	return nil
}

// among lists the names of m for a message.
func among[T any](m map[string]T) string {
	if len(m) == 0 {
		return ""
	}
	return "; there are " + strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

func encodeVariable(b []byte, v *ebpf.VariableSpec, text string) error {
	if v.Type == nil {
		// Compiled without -g: the symbol tells the size alone.
		return encodeInt(b, &btf.Int{Size: uint32(len(b))}, text)
	}
	return encode(b, v.Type.Type, text)
}

// encode writes the value that text is for a variable of type t.
func encode(b []byte, t btf.Type, text string) error {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		return encodeInt(b, t, text)
	case *btf.Enum:
		for _, e := range t.Values {
			if e.Name == text {
				putUint(b, e.Value)
				return nil
			}
		}
		if err := encodeInt(b, &btf.Int{Size: t.Size, Encoding: signedness(t.Signed)}, text); err != nil {
			return fmt.Errorf("enum %s has no value %q", t.Name, text)
		}
		return nil
	case *btf.Float:
		return encodeFloat(b, text)
	case *btf.Array:
		if e, ok := btf.UnderlyingType(t.Type).(*btf.Int); ok && e.Size == 1 {
			if len(text) >= len(b) {
				return fmt.Errorf("the array holds %d bytes with the final zero", len(b))
			}
			copy(b, text)
			return nil
		}
		return encodeElements(b, t, text)
	}
	return fmt.Errorf("its type is %s; integers, booleans, enums, floats, strings and arrays of them can be set", describe(t))
}

// encodeElements writes an array given as values with commas between them.
func encodeElements(b []byte, t *btf.Array, text string) error {
	parts := strings.Split(text, ",")
	if len(parts) > int(t.Nelems) {
		return fmt.Errorf("the array has %d elements", t.Nelems)
	}
	size, err := btf.Sizeof(t.Type)
	if err != nil {
		return err
	}
	for i, p := range parts {
		if err := encode(b[i*size:(i+1)*size], t.Type, strings.TrimSpace(p)); err != nil {
			return err
		}
	}
	return nil
}

func signedness(signed bool) btf.IntEncoding {
	if signed {
		return btf.Signed
	}
	return btf.Unsigned
}

var booleans = map[string]uint64{"true": 1, "false": 0}

// encodeInt accepts decimal, 0x and 0o numbers, true and false, and 'c' for a character.
func encodeInt(b []byte, t *btf.Int, text string) error {
	if v, ok := booleans[text]; ok {
		putUint(b, v)
		return nil
	}
	if t.Encoding == btf.Bool {
		if text != "0" && text != "1" {
			return fmt.Errorf("a boolean is true or false")
		}
	}
	if r := []rune(text); len(r) == 3 && r[0] == '\'' && r[2] == '\'' && r[1] < 0x80 {
		putUint(b, uint64(r[1]))
		return nil
	}
	bits := len(b) * 8
	if bits > 64 {
		return fmt.Errorf("integers of %d bits cannot be set", bits)
	}
	if strings.HasPrefix(text, "-") && t.Encoding != btf.Unsigned || t.Encoding == btf.Signed {
		v, err := strconv.ParseInt(text, 0, bits)
		if err != nil {
			return numberError(err, bits, true)
		}
		putUint(b, uint64(v))
		return nil
	}
	v, err := strconv.ParseUint(text, 0, bits)
	if err != nil {
		return numberError(err, bits, false)
	}
	putUint(b, v)
	return nil
}

func numberError(err error, bits int, signed bool) error {
	kind := "an unsigned"
	if signed {
		kind = "a signed"
	}
	if e, ok := err.(*strconv.NumError); ok && e.Err == strconv.ErrRange {
		return fmt.Errorf("out of the range of %s integer of %d bits", kind, bits)
	}
	return fmt.Errorf("the variable is %s integer of %d bits", kind, bits)
}

func encodeFloat(b []byte, text string) error {
	v, err := strconv.ParseFloat(text, len(b)*8)
	if err != nil {
		return fmt.Errorf("the variable is a floating point number")
	}
	if len(b) == 4 {
		putUint(b, uint64(math.Float32bits(float32(v))))
	} else {
		putUint(b, math.Float64bits(v))
	}
	return nil
}

// putUint writes the low bytes of v.
func putUint(b []byte, v uint64) {
	var full [8]byte
	binary.LittleEndian.PutUint64(full[:], v)
	copy(b, full[:])
}

// describe names a type as C does.
func describe(t btf.Type) string {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Pointer:
		return "a pointer"
	case *btf.Struct:
		return "struct " + t.Name
	case *btf.Union:
		return "union " + t.Name
	default:
		return t.TypeName()
	}
}
