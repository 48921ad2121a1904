package abi

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// kernel returns the running kernel's types.
func kernel(t *testing.T) *btf.Spec {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		t.Skip("this kernel has no BTF to compare with (CONFIG_DEBUG_INFO_BTF)")
	}
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// Every command of the kernel has a row, under its number.
func TestCommands(t *testing.T) {
	var cmds *btf.Enum
	if err := kernel(t).TypeByName("bpf_cmd", &cmds); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, v := range cmds.Values {
		if strings.HasPrefix(v.Name, "__") || v.Name == "BPF_PROG_RUN" { // another name of BPF_PROG_TEST_RUN
			continue
		}
		if v.Value >= uint64(len(Commands)) {
			t.Errorf("%s = %d has no row", v.Name, v.Value)
			continue
		}
		seen++
		if got := Commands[v.Value].Name; got != v.Name {
			t.Errorf("command %d is %s, the row says %s", v.Value, v.Name, got)
		}
	}
	if seen == 0 {
		t.Error("the kernel has no commands?")
	}
}

// members lists the fields of a structure and of the anonymous ones inside it,
// as name, offset and size in bytes. A name may be there more than once.
func members(prefix string, list []btf.Member, base uint32, out map[string]bool) {
	for _, m := range list {
		off := base + m.Offset.Bytes()
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			continue
		}
		name := prefix + m.Name
		out[fmt.Sprintf("%s %d %d", name, off, size)] = true
		inner := name + "."
		if m.Name == "" {
			inner = prefix
		}
		switch s := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			members(inner, s.Members, off, out)
		case *btf.Union:
			members(inner, s.Members, off, out)
		}
	}
}

// short removes the names of the unions and structures that a field is in.
func short(all map[string]bool) map[string]bool {
	out := make(map[string]bool)
	for m := range all {
		name, rest, _ := strings.Cut(m, " ")
		for {
			out[name+" "+rest] = true
			_, tail, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			name = tail
		}
	}
	return out
}

// Every field of a row is in union bpf_attr at that place.
func TestFields(t *testing.T) {
	var attr *btf.Union
	if err := kernel(t).TypeByName("bpf_attr", &attr); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	members("", attr.Members, 0, all)
	have := short(all)
	check := func(where string, fields []Field) {
		for _, f := range fields {
			if f.Name == "cookie" {
				continue // of a union whose members differ by attach type
			}
			if !have[fmt.Sprintf("%s %d %d", f.Name, f.Off, f.Size)] {
				t.Errorf("%s: the kernel has no %s of %d bytes at %d", where, f.Name, f.Size, f.Off)
			}
		}
	}
	for i := range Commands {
		check(Commands[i].Name, Commands[i].Fields)
	}
	for attach, fields := range LinkFields {
		check(fmt.Sprintf("attach type %d", attach), fields)
	}
}

// A row's size covers its fields, and does not go past union bpf_attr.
func TestSizes(t *testing.T) {
	var attr *btf.Union
	if err := kernel(t).TypeByName("bpf_attr", &attr); err != nil {
		t.Fatal(err)
	}
	for i := range Commands {
		c := &Commands[i]
		end := uint16(0)
		for _, f := range c.Fields {
			end = max(end, f.Off+uint16(f.Size))
		}
		if end > c.Size || uint32(c.Size) > attr.Size {
			t.Errorf("%s: fields end at %d, the row says %d, union bpf_attr has %d", c.Name, end, c.Size, attr.Size)
		}
		if c.Level == Partial && c.Note == "" {
			t.Errorf("%s is supported in part, but no note says what is missing", c.Name)
		}
	}
}

// The pointers inside of the info structures are where the kernel has them.
func TestInfo(t *testing.T) {
	spec := kernel(t)
	for _, c := range []struct {
		name   string
		fields []Field
	}{
		{"bpf_prog_info", InfoFields[KindProg]},
		{"bpf_btf_info", InfoFields[KindBTF]},
	} {
		var s *btf.Struct
		if err := spec.TypeByName(c.name, &s); err != nil {
			t.Fatal(err)
		}
		all := make(map[string]bool)
		members("", s.Members, 0, all)
		for _, f := range c.fields {
			if !all[fmt.Sprintf("%s %d %d", f.Name, f.Off, f.Size)] {
				t.Errorf("%s has no %s at %d", c.name, f.Name, f.Off)
			}
		}
	}
	var s *btf.Struct
	if err := spec.TypeByName("bpf_link_info", &s); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	members("", s.Members, 0, all)
	for kind, fields := range LinkInfoFields {
		for _, f := range fields {
			if f.Name == "perf_event.name" {
				continue // has another name for each kind of event
			}
			if !all[fmt.Sprintf("%s %d %d", f.Name, f.Off, f.Size)] {
				t.Errorf("bpf_link_info of type %d has no %s at %d", kind, f.Name, f.Off)
			}
		}
	}
}
