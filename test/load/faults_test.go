package load

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/test/testenv"
)

// prologue is what all sources begin with.
const prologue = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
char LICENSE[] SEC("license") = "GPL";
`

// source compiles a program given as text.
func source(t *testing.T, text string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog.bpf.c")
	if err := os.WriteFile(path, []byte(prologue+text), 0o644); err != nil {
		t.Fatal(err)
	}
	return compileFile(t, path, flags...)
}

const (
	nothing = `SEC("raw_tp/sys_enter") int prog(void *ctx) { return 0; }`
	aMap    = `struct { __uint(type, %d); __uint(max_entries, %d); __type(key, __u32); __type(value, %s); } %s SEC(".maps");
SEC("raw_tp/sys_enter") int prog(void *ctx) { __u32 k = 0; return bpf_map_lookup_elem(&%[4]s, &k) != 0; }`
	badRead = `SEC("raw_tp/sys_enter") int prog(void *ctx)
{
	long *p = (long *)bpf_get_current_task();
	return *p; /* the culprit */
}`
	core = `struct task_struct { int %s; } __attribute__((preserve_access_index));
SEC("raw_tp/sys_enter") int prog(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	return BPF_CORE_READ(t, %[1]s);
}`
)

// hidden is a target whose kernel shows no BTF, without is one that lacks
// something else.
var (
	hiddenBTF = "shell:exec unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec " + bpfd + "'"
	noBPFFS   = "shell:exec unshare -m sh -c 'umount -l /sys/fs/bpf && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin " + bpfd + "'"
)

// Bad input gives an error that names the cause, and leaves nothing.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		source  string
		cflags  []string
		target  string
		flags   []string
		message []string
	}{
		{name: "big-endian", source: nothing, cflags: []string{"--target=bpfeb"}, message: []string{"is big-endian, the target is little-endian", "-target bpfel"}},
		{name: "not for BPF", source: nothing, cflags: []string{"--target=x86_64"}, message: []string{"was compiled for EM_X86_64, not for BPF", "-target bpf"}},
		{name: "unknown section", source: `SEC("kprobes/x") int prog(void *ctx) { return 0; }`, message: []string{`section "kprobes/x" of program prog names no known program type`}},
		{name: "no BTF on the target", source: fmt.Sprintf(core, "pid"), target: hiddenBTF, message: []string{"program prog has CO-RE relocations", "has no BTF", "--btf FILE"}},
		{name: "no such field", source: fmt.Sprintf(core, "no_such_field"), message: []string{"program prog was refused", "field or type that the target's kernel does not have"}},
		{name: "no such BTF file", source: fmt.Sprintf(core, "pid"), flags: []string{"--btf", "/etc/hostname"}, message: []string{"/etc/hostname holds no BTF"}},
		{name: "unknown map type", source: fmt.Sprintf(aMap, 200, 1, "__u32", "odd"), message: []string{"map odd (type 200, key 4, value 4 bytes, 1 entries)", "does not know this type of map"}},
		{name: "map too big", source: fmt.Sprintf(aMap, 2, 0xffffffff, "struct { char b[4096]; }", "huge"), message: []string{"map huge (array, key 4, value 4096 bytes, 4294967295 entries) is too big for the target"}},
		{name: "program too big", source: `SEC("raw_tp/sys_enter") int prog(void *ctx) { asm volatile(".rept 1000001; r1 = r1; .endr"); return 0; }`, message: []string{"program prog has 100000", "too big for the target's kernel"}},
		{name: "verifier", source: badRead, message: []string{"program prog was refused by the target's verifier: R", "at prog.bpf.c:8: return *p; /* the culprit */", "\n  | "}},
		{name: "no such tracepoint", source: `SEC("tp/sched/no_such") int prog(void *ctx) { return 0; }`, message: []string{`program prog (tp/sched/no_such): the target's kernel has no tracepoint sched:no_such`}},
		{name: "no such raw tracepoint", source: `SEC("raw_tp/no_such") int prog(void *ctx) { return 0; }`, message: []string{"the target's kernel has no tracepoint no_such"}},
		{name: "no such function", source: `SEC("fentry/no_such") int prog(void *ctx) { return 0; }`, message: []string{"program prog (fentry/no_such): the target's kernel has no no_such in its BTF"}},
		{name: "no such interface", source: `SEC("xdp") int prog(void *ctx) { return 2; }`, flags: []string{"--ifname", "nosuch0"}, message: []string{`the target has no network interface "nosuch0"`}},
		{name: "no interface", source: `SEC("xdp") int prog(void *ctx) { return 2; }`, message: []string{"program prog (xdp): which interface? give --ifname"}},
		{name: "no direction", source: `SEC("cgroup/skb") int prog(void *ctx) { return 1; }`, message: []string{"cgroup_skb/ingress"}},
		{name: "no such cgroup", source: `SEC("cgroup_skb/egress") int prog(void *ctx) { return 1; }`, flags: []string{"--cgroup", "/sys/fs/cgroup/nosuch"}, message: []string{"the target has no cgroup /sys/fs/cgroup/nosuch"}},
		{name: "not by itself", source: `SEC("socket") int prog(void *ctx) { return 0; }`, message: []string{"cannot be attached by itself: a socket filter belongs to a socket"}},
		{name: "no such file to probe", source: `SEC("uprobe//no/such:main") int prog(void *ctx) { return 0; }`, message: []string{"the target has no file /no/such"}},
		{name: "no such variable", source: "int volatile answer = 1;" + nothing, flags: []string{"--set", "question=1"}, message: []string{`no global variable "question"; there are answer`}},
		{name: "value out of range", source: "const volatile unsigned char small = 1;" + nothing, flags: []string{"--set", "small=256"}, message: []string{"--set small=256: out of the range of an unsigned integer of 8 bits"}},
		{name: "no value", source: nothing, flags: []string{"--set", "x"}, message: []string{"--set x: it must be NAME=VALUE"}},
		{name: "no such pin", source: fmt.Sprintf(aMap, 2, 1, "__u32", "numbers"), flags: []string{"--map", "numbers=no/such"}, message: []string{"--map numbers=no/such: /sys/fs/bpf/no/such on the target: no such file"}},
		{name: "no such map", source: nothing, flags: []string{"--map", "numbers=no/such"}, message: []string{`has no map "numbers"`}},
		{name: "not in a bpf file system", source: nothing, flags: []string{"--pin", "/tmp/x"}, message: []string{"/tmp/x is not in the target's bpf file system"}},
		{name: "no parent", source: nothing, flags: []string{"--pin", "no/such"}, message: []string{"/sys/fs/bpf/no does not exist on the target"}},
		{name: "no bpf file system", source: nothing, target: noBPFFS, flags: []string{"--pin", "x"}, message: []string{"the target has no bpf file system at /sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf"}},
		{name: "no such struct", source: `struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps"); SEC("raw_tp/sys_enter") int prog(void *ctx) { return bpf_ringbuf_query(&ring, 0); }`, flags: []string{"--json", "--event", "nosuch"}, message: []string{"has no struct nosuch in its BTF"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := c.target
			if target == "" {
				target = "shell:"
			}
			o := source(t, c.source, c.cflags...)
			before := snapshot(t)
			r := runAt(t, target, append([]string{"load", o}, c.flags...)...)
			for _, m := range c.message {
				if !strings.Contains(r.Stderr, m) {
					t.Errorf("nothing says %q\n%v", m, r)
				}
			}
			if r.Status != 125 || r.Stdout != "" {
				t.Error(r)
			}
			// The kernel frees what was let go of a little later.
			var after testenv.Buffer
			testenv.Eventually(t, "something was left; before there was "+before, func() bool {
				after.Reset()
				io.WriteString(&after, snapshot(t))
				return after.String() == before
			}, &after)
		})
	}
}

// snapshot is what is pinned, and the programs and maps that the tests name.
func snapshot(t *testing.T) string {
	t.Helper()
	var list []string
	filepath.WalkDir(bpffs, func(path string, _ os.DirEntry, _ error) error {
		list = append(list, path)
		return nil
	})
	for _, kind := range []string{"prog", "map"} {
		out, err := exec.Command("bpftool", kind, "list").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			for _, name := range []string{"name prog ", "name odd ", "name huge ", "name numbers "} {
				if strings.Contains(line, name) {
					list = append(list, strings.TrimSpace(line))
				}
			}
		}
	}
	return strings.Join(list, "\n")
}

// A failure half-way takes back what was attached and pinned before it.
func TestTakenBack(t *testing.T) {
	o := source(t, `SEC("raw_tp/sys_enter") int a_first(void *ctx) { return 0; }
SEC("tp/sched/no_such") int b_second(void *ctx) { return 0; }`)
	dir, left := pinDir(t), true
	r := run(t, "load", o, "--pin", dir, "--attach")
	if r.Status != 125 || !strings.Contains(r.Stderr, "program b_second") || strings.Count(r.Stderr, "\n") != 1 {
		t.Error(r)
	}
	if _, err := os.Stat(filepath.Join(bpffs, dir)); !os.IsNotExist(err) {
		t.Error("the directory was left")
	}
	// The kernel frees a program some time after its last user has gone.
	// The kernel frees a program some time after its last user has gone.
	for range 100 {
		left = false
		for _, p := range ls(t).Programs {
			left = left || p.Name == "a_first" || p.Name == "b_second"
		}
		if !left {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("a program was left")
}

// A pin that exists is an error before anything is loaded, and stays.
func TestPinExists(t *testing.T) {
	dir := pinDir(t)
	if err := os.Mkdir(filepath.Join(bpffs, dir), 0o700); err != nil {
		t.Fatal(err)
	}
	r := run(t, "load", source(t, nothing), "--pin", dir)
	if r.Status != 125 || !strings.Contains(r.Stderr, "exists on the target already") || !strings.Contains(r.Stderr, "bpfctl unload") {
		t.Error(r)
	}
	if _, err := os.Stat(filepath.Join(bpffs, dir)); err != nil {
		t.Error(err)
	}
}

// The verifier's whole log goes to a file on request.
func TestVerifierLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	r := run(t, "load", source(t, badRead), "--log", log)
	b, err := os.ReadFile(log)
	if err != nil || r.Status != 125 {
		t.Fatal(err, r)
	}
	for _, w := range []string{"call bpf_get_current_task", "processed "} {
		if !strings.Contains(string(b), w) {
			t.Errorf("the log lacks %q:\n%s", w, b)
		}
	}
	s := start(t, source(t, nothing), "-v")
	if !strings.Contains(s.errs.String(), "program prog:\n") || !strings.Contains(s.errs.String(), "processed ") {
		t.Errorf("-v prints no log:\n%s", s.errs.String())
	}
	s.stop(t)
}

// A map that is like the object's is shared, another is refused.
func TestShareMap(t *testing.T) {
	dir := pinDir(t)
	must(t, "load", source(t, fmt.Sprintf(aMap, 2, 4, "__u32", "numbers")), "--pin", dir)
	path := dir + "/maps/numbers"
	r := run(t, "load", source(t, fmt.Sprintf(aMap, 2, 4, "__u64", "numbers")), "--map", "numbers="+path)
	if r.Status != 125 || !strings.Contains(r.Stderr, "map numbers cannot be the pinned one, which differs: ValueSize: 4 changed to 8") {
		t.Error(r)
	}
	s := start(t, source(t, fmt.Sprintf(aMap, 2, 4, "__u32", "numbers")), "--map", "numbers="+path)
	count := 0
	for _, m := range ls(t).Maps {
		if m.Name == "numbers" {
			count++
		}
	}
	if count != 1 {
		t.Errorf("there are %d maps, not the shared one", count)
	}
	s.stop(t)
	must(t, "unload", dir)
}

func TestUnloadRefused(t *testing.T) {
	foreign := pinDir(t)
	os.MkdirAll(filepath.Join(bpffs, foreign, "other"), 0o700)
	for dir, message := range map[string]string{
		"no_such": "there is no /sys/fs/bpf/no_such on the target",
		"/tmp":    "/tmp is not in the target's bpf file system",
		".":       ". is not in the target's bpf file system",
		foreign:   "was not made by bpfctl load",
	} {
		if r := run(t, "unload", dir); r.Status != 125 || !strings.Contains(r.Stderr, message) {
			t.Errorf("%s: %v", dir, r)
		}
	}
	if _, err := os.Stat(filepath.Join(bpffs, foreign, "other")); err != nil {
		t.Error(err)
	}
}
