package btffile

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// kernelTypes are types as an arm64 kernel has them, with some behind struct
// pt_regs whose numbers must stay, and a function whose parameter has a name.
func kernelTypes(t *testing.T, parameter string, names ...string) []byte {
	t.Helper()
	word := &btf.Int{Name: "long unsigned int", Size: 8}
	regs := &btf.Struct{Name: "pt_regs", Size: 336, Members: []btf.Member{
		{Name: "orig_x0", Type: word, Offset: 272 * 8}, {Name: "sdei_ttbr1", Type: word, Offset: 288 * 8},
	}}
	list := []btf.Type{word, &btf.Int{Name: "long int", Size: 8, Encoding: btf.Signed}, regs, &btf.Pointer{Target: regs}}
	list = append(list, &btf.Func{Name: "schedule", Linkage: btf.StaticFunc,
		Type: &btf.FuncProto{Return: word, Params: []btf.FuncParam{{Name: parameter, Type: word}, {Name: "orig_x0", Type: word}}}})
	for _, name := range names {
		list = append(list, &btf.Typedef{Name: name, Type: word})
	}
	b, err := btf.NewBuilder(list, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parsed(t *testing.T, data []byte) (*btf.Spec, *btf.Struct) {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var regs *btf.Struct
	if err := spec.TypeByName("pt_regs", &regs); err != nil {
		t.Fatal(err)
	}
	return spec, regs
}

func TestWithRegisters(t *testing.T) {
	fields := map[string]int32{"di": 112, "cx": 88}
	for _, c := range []struct {
		name             string
		parameter, after string
		names            []string
	}{
		{"names that are there", "a_parameter_with_a_name", "a_parameter_with_a_name", []string{"cx", "di"}},
		{"a name that is missing", "a_parameter_with_a_name", "a_parameter_with_a_n", []string{"di"}},
		{"an end is no name", "a_parameter_with_a_name", "a_parameter_with_", []string{"cdi"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := kernelTypes(t, c.parameter, c.names...)
			before, old := parsed(t, data)
			shown, err := WithRegisters(data, fields)
			if err != nil {
				t.Fatal(err)
			}
			after, regs := parsed(t, shown)
			if len(regs.Members) != len(old.Members)+len(fields) || regs.Size != old.Size {
				t.Fatalf("%v was %v", regs, old)
			}
			for _, m := range regs.Members[len(old.Members):] {
				if i, ok := m.Type.(*btf.Int); !ok || i.Size != 8 || i.Encoding != btf.Unsigned || m.Offset != btf.Bits(8*fields[m.Name]) {
					t.Errorf("%s is %v at %d", m.Name, m.Type, m.Offset)
				}
			}
			var function *btf.Func
			if err := after.TypeByName("schedule", &function); err != nil || function.Type.(*btf.FuncProto).Params[0].Name != c.after {
				t.Errorf("%v, %v", function, err)
			}
			same(t, before, after, append(c.names, "long int", "schedule")...)
			if len(shown) != len(data)+len(fields)*memberLen {
				t.Errorf("%d bytes have become %d", len(data), len(shown))
			}
		})
	}
	for _, data := range [][]byte{kernelTypes(t, "short"), kernelBTF(t, "other", "di", binary.LittleEndian)} {
		if _, err := WithRegisters(data, fields); err != errNoRegisters {
			t.Error(err)
		}
	}
}

// same checks that types have kept their numbers.
func same(t *testing.T, before, after *btf.Spec, names ...string) {
	t.Helper()
	for _, name := range names {
		a, err1 := before.AnyTypeByName(name)
		b, err2 := after.AnyTypeByName(name)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		x, err1 := before.TypeID(a)
		y, err2 := after.TypeID(b)
		if err1 != nil || err2 != nil || x != y {
			t.Errorf("%s was number %d and is %d; %v, %v", name, x, y, err1, err2)
		}
	}
}

// What a target shows may be anything.
func TestWithRegistersMalformed(t *testing.T) {
	good, fields := kernelTypes(t, "a_parameter_with_a_name"), map[string]int32{"di": 112}
	for n := range good {
		if _, err := WithRegisters(good[:n], fields); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(good))
		}
		flipped := bytes.Clone(good)
		flipped[n] ^= 0xff
		WithRegisters(flipped, fields) // must not panic
	}
}
