package abi

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Every map type of the kernel has a row, under its number.
func TestMapTypes(t *testing.T) {
	var types *btf.Enum
	if err := kernel(t).TypeByName("bpf_map_type", &types); err != nil {
		t.Fatal(err)
	}
	// Names that were given up, for numbers that are in the table.
	renamed := map[string]string{
		"BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED":        "BPF_MAP_TYPE_CGROUP_STORAGE",
		"BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED": "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE",
	}
	seen := 0
	for _, v := range types.Values {
		if strings.HasPrefix(v.Name, "__") {
			continue
		}
		name := v.Name
		if n, ok := renamed[name]; ok {
			name = n
		}
		if v.Value >= uint64(len(MapTypes)) {
			t.Errorf("%s = %d has no row", v.Name, v.Value)
			continue
		}
		seen++
		if got := MapTypes[v.Value].Name; got != name {
			t.Errorf("map type %d is %s, the row says %s", v.Value, name, got)
		}
	}
	if seen == 0 {
		t.Error("the kernel has no map types?")
	}
	for i := range MapTypes {
		if m := &MapTypes[i]; m.Level != Full && m.Note == "" && i > 0 {
			t.Errorf("%s is not supported in full, but no note says what is missing", m.Name)
		}
	}
}

// The table has the ioctls which the header of the C library's kernel defines,
// and those have the numbers by which it knows them.
func TestPerfIoctls(t *testing.T) {
	numbers := map[string]uint32{
		"PERF_EVENT_IOC_ENABLE": unix.PERF_EVENT_IOC_ENABLE, "PERF_EVENT_IOC_DISABLE": unix.PERF_EVENT_IOC_DISABLE,
		"PERF_EVENT_IOC_REFRESH": unix.PERF_EVENT_IOC_REFRESH, "PERF_EVENT_IOC_RESET": unix.PERF_EVENT_IOC_RESET,
		"PERF_EVENT_IOC_PERIOD": unix.PERF_EVENT_IOC_PERIOD, "PERF_EVENT_IOC_SET_OUTPUT": unix.PERF_EVENT_IOC_SET_OUTPUT,
		"PERF_EVENT_IOC_SET_FILTER": unix.PERF_EVENT_IOC_SET_FILTER, "PERF_EVENT_IOC_ID": unix.PERF_EVENT_IOC_ID,
		"PERF_EVENT_IOC_SET_BPF": unix.PERF_EVENT_IOC_SET_BPF, "PERF_EVENT_IOC_PAUSE_OUTPUT": unix.PERF_EVENT_IOC_PAUSE_OUTPUT,
		"PERF_EVENT_IOC_QUERY_BPF": unix.PERF_EVENT_IOC_QUERY_BPF, "PERF_EVENT_IOC_MODIFY_ATTRIBUTES": unix.PERF_EVENT_IOC_MODIFY_ATTRIBUTES,
	}
	for name, nr := range numbers {
		if got := PerfIoctls[nr].Name; got != name {
			t.Errorf("%s is %#x, where the table has %q", name, nr, got)
		}
	}
	if len(PerfIoctls) != len(numbers) {
		t.Errorf("the table has %d ioctls, this test knows %d", len(PerfIoctls), len(numbers))
	}
	f, err := os.Open("/usr/include/linux/perf_event.h")
	if err != nil {
		t.Skip("no kernel headers of the C library (linux-libc-dev) to compare with")
	}
	defer f.Close()
	seen := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 3 || fields[0] != "#define" || !strings.HasPrefix(fields[1], "PERF_EVENT_IOC_") || !strings.HasPrefix(fields[2], "_IO") {
			continue
		}
		seen++
		if numbers[fields[1]] == 0 {
			t.Errorf("%s has no row", fields[1])
		}
	}
	if seen < 10 {
		t.Errorf("the header defines only %d ioctls?", seen)
	}
}

// A request's number on a machine with pointers of 4 bytes differs in its size.
func TestRequestFor(t *testing.T) {
	for nr, i := range PerfIoctls {
		if got := RequestFor(nr, i, 8); got != nr {
			t.Errorf("%s is %#x for 8 bytes, want %#x", i.Name, got, nr)
		}
		want := nr
		if i.Sized {
			want -= 4 << 16
		}
		if got := RequestFor(nr, i, 4); got != want {
			t.Errorf("%s is %#x for 4 bytes, want %#x", i.Name, got, want)
		}
	}
}

// What is printed of struct perf_event_attr is where the kernel has it.
func TestPerfAttr(t *testing.T) {
	var s *btf.Struct
	if err := kernel(t).TypeByName("perf_event_attr", &s); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	members("", s.Members, 0, all)
	for _, f := range PerfAttr {
		if f.Name == "flags" {
			continue // of single bits
		}
		if !all[fmt.Sprintf("%s %d %d", f.Name, f.Off, f.Size)] {
			t.Errorf("struct perf_event_attr has no %s of %d bytes at %d", f.Name, f.Size, f.Off)
		}
	}
}

// infoScalars are the fields of 8 bytes of the info structures that are no
// pointers, by the structure.
var infoScalars = map[string]string{
	"bpf_prog_info": "load_time netns_dev netns_ino run_time_ns run_cnt recursion_misses",
	"bpf_map_info":  "netns_dev netns_ino map_extra",
	"bpf_btf_info":  "",
	"bpf_link_info": `raw_tracepoint.cookie tracing.cookie cgroup.cgroup_id iter.cgroup.cgroup_id kprobe_multi.missed
		perf_event.uprobe.cookie perf_event.uprobe.ref_ctr_offset perf_event.kprobe.addr perf_event.kprobe.missed
		perf_event.kprobe.cookie perf_event.tracepoint.cookie perf_event.event.config perf_event.event.cookie`,
}

// Each field of 8 bytes of the info structures is in a row, or is known not to be
// a pointer; and the structures are no larger than what is known of them.
func TestInfoComplete(t *testing.T) {
	rows := map[string][]Field{
		"bpf_prog_info": InfoFields[KindProg], "bpf_map_info": InfoFields[KindMap], "bpf_btf_info": InfoFields[KindBTF],
	}
	for _, fields := range LinkInfoFields {
		rows["bpf_link_info"] = append(rows["bpf_link_info"], fields...)
	}
	sizes := map[string]uint32{
		"bpf_prog_info": InfoSizes[KindProg], "bpf_map_info": InfoSizes[KindMap],
		"bpf_btf_info": InfoSizes[KindBTF], "bpf_link_info": InfoSizes[KindLink],
	}
	spec := kernel(t)
	for name, scalars := range infoScalars {
		var s *btf.Struct
		if err := spec.TypeByName(name, &s); err != nil {
			t.Fatal(err)
		}
		if s.Size > sizes[name] {
			t.Errorf("struct %s has %d bytes, %d are known", name, s.Size, sizes[name])
		}
		known := make(map[string]bool)
		for _, f := range strings.Fields(scalars) {
			known[f] = true
		}
		for _, f := range rows[name] {
			known[f.Name] = true
		}
		words("", s.Members, func(field string) {
			// Events of each kind have their names at one place.
			if strings.HasPrefix(field, "perf_event.") && strings.HasSuffix(field, "_name") {
				field = "perf_event.name"
			}
			if !known[field] {
				t.Errorf("struct %s: %s may be a pointer and has no row", name, field)
			}
		})
	}
}

// words calls f with the name of each number of 8 bytes.
func words(prefix string, list []btf.Member, f func(string)) {
	for _, m := range list {
		name, inner := prefix+m.Name, prefix+m.Name+"."
		if m.Name == "" {
			inner = prefix
		}
		switch s := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			words(inner, s.Members, f)
		case *btf.Union:
			words(inner, s.Members, f)
		case *btf.Int:
			if s.Size == 8 {
				f(name)
			}
		}
	}
}

// attrScalars are the fields of 8 bytes of union bpf_attr that are neither
// pointers nor in a row.
var attrScalars = map[string]bool{
	"map_extra": true, "flags": true, "elem_flags": true, "cookie": true, "expected_revision": true, "revision": true,
	"probe_offset": true, "probe_addr": true, "fd_array": true, "bpf_cookie": true,
}

// sameFD are descriptors at the place of another one, which the row names.
var sameFD = map[string]string{
	"old_map_fd": "old_prog_fd", "new_map_fd": "new_prog_fd", "attach_btf_obj_fd": "attach_prog_fd",
}

// Each field of union bpf_attr which may be a pointer or a descriptor is in a row
// under its name.
func TestAttrComplete(t *testing.T) {
	var attr *btf.Union
	if err := kernel(t).TypeByName("bpf_attr", &attr); err != nil {
		t.Fatal(err)
	}
	if attr.Size > AttrSize {
		t.Errorf("union bpf_attr has %d bytes, %d are known", attr.Size, AttrSize)
	}
	pointers, descriptors := make(map[string]bool), make(map[string]bool)
	note := func(fields []Field) {
		for _, f := range fields {
			name := f.Name[strings.LastIndexByte(f.Name, '.')+1:]
			switch {
			case f.Kind >= In:
				pointers[name] = true
			case f.Kind == FD:
				descriptors[name] = true
			}
		}
	}
	for i := range Commands {
		note(Commands[i].Fields)
	}
	for _, fields := range LinkFields {
		note(fields)
	}
	last := func(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
	words("", attr.Members, func(name string) {
		if !pointers[last(name)] && !attrScalars[last(name)] {
			t.Errorf("%s may be a pointer and has no row", name)
		}
	})
	all := make(map[string]bool)
	members("", attr.Members, 0, all)
	for m := range all {
		name := last(strings.Fields(m)[0])
		if strings.HasSuffix(name, "_fd") && !descriptors[name] && !descriptors[sameFD[name]] {
			t.Errorf("%s may be a descriptor and has no row", name)
		}
	}
}
