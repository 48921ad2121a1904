package loader

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	u8    = &btf.Int{Name: "unsigned char", Size: 1}
	char  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	u16   = &btf.Int{Name: "__u16", Size: 2}
	s32   = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	u64   = &btf.Int{Name: "__u64", Size: 8}
	boole = &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	u128  = &btf.Int{Name: "unsigned __int128", Size: 16}
	f64   = &btf.Float{Name: "double", Size: 8}
	color = &btf.Enum{Name: "color", Size: 4, Values: []btf.EnumValue{{Name: "RED", Value: 1}, {Name: "NONE", Value: 0xffffffff}}}
	text  = &btf.Array{Type: char, Index: s32, Nelems: 4}
)

func array(t btf.Type, n uint32) btf.Type { return &btf.Array{Type: t, Index: s32, Nelems: n} }

// Values are set as they would be in C, and what does not fit is refused.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		typ  btf.Type
		text string
		want []byte // nil: refused
	}{
		{s32, "-2", []byte{0xfe, 0xff, 0xff, 0xff}},
		{s32, "0x10", []byte{16, 0, 0, 0}},
		{s32, "2147483648", nil},
		{s32, "two", nil},
		{s32, "", nil},
		{u8, "255", []byte{255}},
		{u8, "256", nil},
		{u8, "-1", nil},
		{u8, "'a'", []byte{'a'}},
		{u64, "18446744073709551615", bytes.Repeat([]byte{255}, 8)},
		{u128, "1", nil},
		{boole, "true", []byte{1}},
		{boole, "0", []byte{0}},
		{boole, "2", nil},
		{color, "RED", []byte{1, 0, 0, 0}},
		{color, "NONE", []byte{255, 255, 255, 255}},
		{color, "7", []byte{7, 0, 0, 0}},
		{color, "BLUE", nil},
		{f64, "1.5", []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}},
		{f64, "x", nil},
		{text, "abc", []byte{'a', 'b', 'c', 0}},
		{text, "", []byte{0, 0, 0, 0}},
		{text, "abcd", nil},
		{array(u16, 3), "1, 2", []byte{1, 0, 2, 0, 0, 0}},
		{array(u16, 1), "1,2", nil},
		{&btf.Volatile{Type: &btf.Const{Type: &btf.Typedef{Name: "t", Type: u16}}}, "3", []byte{3, 0}},
		{&btf.Pointer{Target: s32}, "0", nil},
		{&btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "a", Type: s32}}}, "1", nil},
	} {
		size, err := btf.Sizeof(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		err = encode(b, c.typ, c.text)
		if (err != nil) != (c.want == nil) || err == nil && !bytes.Equal(b, c.want) {
			t.Errorf("%v = %q: % x, %v", c.typ, c.text, b, err)
		}
		if err != nil && strings.Contains(err.Error(), "strconv") {
			t.Errorf("%v = %q: %v speaks of Go", c.typ, c.text, err)
		}
	}
}

// Whatever a record holds comes out as JSON.
func TestAppendJSON(t *testing.T) {
	record := &btf.Struct{Name: "record", Size: 24, Members: []btf.Member{
		{Name: "id", Type: s32},
		{Name: "mode", Type: &btf.Typedef{Name: "mode_t", Type: u16}, Offset: 32},
		{Type: &btf.Union{Size: 2, Members: []btf.Member{{Name: "a", Type: u8}, {Name: "b", Type: u16}}}, Offset: 48},
		{Name: "low", Type: s32, Offset: 64, BitfieldSize: 3},
		{Name: "high", Type: u64, Offset: 67, BitfieldSize: 60},
		{Name: "inner", Type: &btf.Struct{Size: 4, Members: []btf.Member{{Name: "p", Type: array(u8, 2)}}}, Offset: 144},
	}}
	for _, c := range []struct {
		typ  btf.Type
		data []byte
		want string
	}{
		{s32, []byte{0xfe, 0xff, 0xff, 0xff}, "-2"},
		{u64, bytes.Repeat([]byte{255}, 8), "18446744073709551615"},
		{u128, append(make([]byte, 15), 1), `"0x01000000000000000000000000000000"`},
		{boole, []byte{1}, "true"},
		{f64, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, "1.5"},
		{f64, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, "null"}, // NaN
		{color, []byte{1, 0, 0, 0}, `"RED"`},
		{color, []byte{9, 0, 0, 0}, "9"},
		{text, []byte{'a', '"', 0, 'z'}, `"a\""`},
		{text, []byte{0xff, 'a', 'b', 'c'}, `"\ufffdabc"`},
		{&btf.Pointer{Target: s32}, []byte{1, 0, 0, 0, 0, 0, 0xff, 0xff}, `"0xffff000000000001"`},
		{array(u16, 2), []byte{1, 0, 2, 0}, "[1,2]"},
		{s32, []byte{1, 2}, "null"}, // a record that was cut
		{record, []byte{
			0xff, 0xff, 0xff, 0xff, 0xa4, 0x81, 0x34, 0x12,
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 5, 6, 0, 0, 0, 0,
		}, `{"id":-1,"mode":33188,"a":52,"b":4660,"low":-1,"high":1152921504606846975,"inner":{"p":[5,6]}}`},
	} {
		got := string(appendJSON(nil, c.typ, c.data))
		if got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%v of % x: %s, want %s", c.typ, c.data, got, c.want)
		}
	}
}

func TestPinPath(t *testing.T) {
	for in, want := range map[string]string{
		"netd": "/sys/fs/bpf/netd", "a/b": "/sys/fs/bpf/a/b", "/sys/fs/bpf/x/": "/sys/fs/bpf/x",
		"": "", ".": "", "..": "", "../../etc": "", "/tmp/x": "", "/sys/fs/bpf": "", "a.b": "", "/sys/fs/bpf/../x": "",
	} {
		got, err := PinPath(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestKernelName(t *testing.T) {
	for in, want := range map[string]string{
		"PerCPUHash": "percpu_hash", "LRUCPUHash": "lru_percpu_hash", "LPMTrie": "lpm_trie", "PerfEventArray": "perf_event_array",
		"CGroupSKB": "cgroup_skb", "SchedCLS": "sched_cls", "TracePoint": "tracepoint", "XDP": "xdp", "RingBuf": "ringbuf",
		"ArrayOfMaps": "array_of_maps", "ProgramArray": "prog_array", "RawTracepoint": "raw_tracepoint", "Hash": "hash",
	} {
		if got := kernelName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// fdinfo says what a descriptor is of; a link's names its program as well.
func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		link, fdinfo string
		want         Ref
		ok           bool
	}{
		{"anon_inode:bpf-map", "pos:\t0\nmap_type:\t1\nmap_id:\t12\n", Ref{KindMap, 12}, true},
		{"anon_inode:bpf-prog", "prog_type:\t5\nprog_id:\t7\n", Ref{KindProgram, 7}, true},
		{"anon_inode:bpf_link", "link_type:\tcgroup\nlink_id:\t3\nprog_id:\t7\n", Ref{KindLink, 3}, true},
		{"anon_inode:bpf-map", "pos:\t0\n", Ref{}, false},
	} {
		if got, ok := identity(c.link, c.fdinfo); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", c.link, got, ok)
		}
	}
}
