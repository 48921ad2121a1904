package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

// Each type of program is attached where its section says.
func TestAttach(t *testing.T) {
	iface := "lo"
	for _, c := range []struct {
		section, ret string
		flags        []string
		where        string // what load says
		link         string // the type that ls shows, "" if the load fails
	}{
		{section: "tp/sched/sched_switch", where: "tracepoint sched:sched_switch", link: "perf_event"},
		{section: "raw_tp/sched_switch", where: "raw tracepoint sched_switch", link: "raw_tracepoint"},
		{section: "tp_btf/sched_switch", where: "tp_btf/sched_switch", link: "raw_tracepoint"},
		{section: "fentry/do_sys_openat2", where: "fentry/do_sys_openat2", link: "tracing"},
		{section: "fexit/do_sys_openat2", where: "fexit/do_sys_openat2", link: "tracing"},
		{section: "perf_event", flags: []string{"--freq", "49"}, where: "49 Hz on CPU 0", link: "perf_event"},
		{section: "uprobe/libc:malloc", where: "uprobe/libc:malloc", link: "perf_event"},
		{section: "uretprobe//bin/sh:malloc", where: "", link: ""},
		{section: "iter/task", where: "iterator over task", link: "iter"},
		{section: "xdp", ret: "2", flags: []string{"--ifname", iface}, where: "xdp on lo", link: "xdp"},
		{section: "tc/ingress", ret: "-1", flags: []string{"--ifname", iface}, where: "tc/ingress on lo", link: "tcx"},
		{section: "tcx/egress", ret: "-1", flags: []string{"--ifname", iface}, where: "tcx/egress on lo", link: "tcx"},
		{section: "cgroup_skb/ingress", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
		{section: "cgroup/sock_create", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
		{section: "cgroup/connect4", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
		{section: "cgroup/sysctl", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
		{section: "cgroup/getsockopt", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
		{section: "cgroup/dev", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
		{section: "sockops", ret: "1", where: "cgroup /sys/fs/cgroup", link: "cgroup"},
	} {
		t.Run(strings.ReplaceAll(c.section, "/", "_"), func(t *testing.T) {
			ret := c.ret
			if ret == "" {
				ret = "0"
			}
			o := source(t, fmt.Sprintf("SEC(%q) int prog(void *ctx) { return %s; }", c.section, ret))
			dir := pinDir(t)
			r := run(t, append([]string{"load", o, "--pin", dir, "--attach"}, c.flags...)...)
			if c.link == "" { // a symbol that the file does not have
				if r.Status != 125 || !strings.Contains(r.Stderr, "has no symbol") {
					t.Error(r)
				}
				return
			}
			if _, err := os.ReadFile("/sys/kernel/tracing/available_filter_functions"); err != nil && strings.HasPrefix(c.section, "f") {
				if !strings.Contains(r.Stderr, "does not permit it") {
					t.Error(r)
				}
				t.Skip("this kernel is locked down or has no function tracer: ", err)
			}
			testenv.Must(t, r)
			if !strings.Contains(r.Stdout, ": "+c.where) {
				t.Errorf("nothing is said to be attached to %q\n%v", c.where, r)
			}
			links, _ := filepath.Glob(filepath.Join(bpffs, dir, "links/prog*"))
			shown := 0
			for _, l := range ls(t).Links {
				if len(l.Pins) == 1 && filepath.Dir(l.Pins[0]) == filepath.Join(bpffs, dir, "links") && l.Type == c.link {
					shown++
				}
			}
			if shown == 0 || shown != len(links) {
				t.Errorf("%d links are pinned, ls shows %d of type %s", len(links), shown, c.link)
			}
			u := must(t, "unload", dir)
			if u.Stderr != "" {
				t.Error(u)
			}
		})
	}
}

// An iterator's output is printed.
func TestIterator(t *testing.T) {
	s := start(t, compile(t, "iter"))
	testenv.Eventually(t, "this process is not listed", func() bool {
		return strings.Contains(s.out.String(), fmt.Sprintf("process %d\n", os.Getpid()))
	}, &s.out)
	s.stop(t)
}

// Objects of the time before BTF: SEC("maps"), no -g.
func TestLegacyMaps(t *testing.T) {
	dir := pinDir(t)
	o := source(t, `struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags, inner_map_idx, numa_node; };
struct bpf_map_def SEC("maps") old = { .type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 16 };
unsigned int limit = 1;
SEC("raw_tp/sys_enter") int prog(void *ctx) { unsigned int k = limit; return bpf_map_lookup_elem(&old, &k) != 0; }`, "-g0")
	must(t, "load", o, "--pin", dir, "--set", "limit=7")
	found := false
	for _, m := range ls(t).Maps {
		found = found || m.Name == "old" && m.Type == "hash"
	}
	if !found {
		t.Error("the map is not there")
	}
	dump := must(t, "run", "--", "bpftool", "map", "dump", "pinned", filepath.Join(bpffs, dir, "maps/_data"))
	if !strings.Contains(dump.Stdout, "07 00 00 00") {
		t.Errorf("limit is not 7: %v", dump)
	}
	must(t, "unload", dir)
}

// A map that is pinned by name is shared by name, as libbpf does it.
func TestPinByName(t *testing.T) {
	name := fmt.Sprintf("by_name_%d", os.Getpid())
	path := filepath.Join(bpffs, name)
	t.Cleanup(func() { os.Remove(path) })
	text := `struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, %d); __type(key, __u32); __type(value, __u32); __uint(pinning, LIBBPF_PIN_BY_NAME); } %s SEC(".maps");
SEC("raw_tp/sys_enter") int prog(void *ctx) { __u32 k = 0; return bpf_map_lookup_elem(&%[2]s, &k) != 0; }`
	// A load that fails takes it away again.
	r := run(t, "load", source(t, fmt.Sprintf(text, 4, name)+`SEC("tp/sched/no_such") int other(void *ctx) { return 0; }`))
	if _, err := os.Stat(path); r.Status != 125 || !os.IsNotExist(err) {
		t.Error(err, r)
	}
	first := start(t, source(t, fmt.Sprintf(text, 4, name)))
	second := start(t, source(t, fmt.Sprintf(text, 4, name)))
	count := 0
	for _, m := range ls(t).Maps {
		if strings.HasPrefix(name, m.Name) && len(m.Pins) == 1 && m.Pins[0] == path {
			count++
			if len(m.Processes) != 2 {
				t.Errorf("it is held by %v", m.Processes)
			}
		}
	}
	if count != 1 {
		t.Errorf("there are %d maps", count)
	}
	first.stop(t)
	second.stop(t)
	r = run(t, "load", source(t, fmt.Sprintf(text, 8, name)))
	if r.Status != 125 || !strings.Contains(r.Stderr, "is pinned by name") || !strings.Contains(r.Stderr, "MaxEntries: 4 changed to 8") {
		t.Error(r)
	}
}
