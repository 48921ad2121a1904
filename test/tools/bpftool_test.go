package tools

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Commands whose output is the same each time.
func TestBpftoolExact(t *testing.T) {
	need(t, "bpftool")
	const pin = "/sys/fs/bpf/bpfd-test-map"
	os.Remove(pin)
	defer os.Remove(pin)
	// Made natively, so that both look at the same map.
	for _, args := range []string{
		"map create " + pin + " type hash key 4 value 8 entries 64 name bpfd_test",
		"map update pinned " + pin + " key 1 0 0 0 value 1 2 3 4 5 6 7 8",
		"map update pinned " + pin + " key 2 0 0 0 value 8 7 6 5 4 3 2 1",
		"map update pinned " + pin + " key 9 9 0 0 value 0 0 0 0 0 0 0 9",
	} {
		if o := run(t, nil, "", append([]string{"bpftool"}, strings.Fields(args)...)...); o.status != 0 {
			t.Fatalf("bpftool %s: %s", args, o)
		}
	}
	for _, args := range []string{
		"map dump pinned " + pin,
		"map lookup pinned " + pin + " key 2 0 0 0",
		"map lookup pinned " + pin + " key 3 0 0 0",
		"map getnext pinned " + pin,
		"map getnext pinned " + pin + " key 1 0 0 0",
		"map show pinned " + pin,
		"-j map show pinned " + pin,
		"map list",
		"prog list",
		"link list",
		"btf list",
		"net list",
		"cgroup tree",
		"feature probe kernel",
		"btf dump id 1 format c",
		"prog load /nonexistent.o /sys/fs/bpf/bpfd-no",
		"version",
	} {
		t.Run(strings.ReplaceAll(args, "/", "_"), func(t *testing.T) {
			command := append([]string{"bpftool"}, strings.Fields(args)...)
			want := run(t, nil, "", command...)
			got := run(t, nil, "", remote(command)...)
			if got != want {
				t.Errorf("natively: %.3000s\nremotely: %.3000s", want, got)
			}
			if want.stdout == "" && want.stderr == "" && !strings.HasSuffix(args, "list") && args != "cgroup tree" {
				t.Errorf("nothing was printed, so that nothing was compared")
			}
		})
	}
}

// What is changed remotely is seen natively.
func TestBpftoolChanges(t *testing.T) {
	need(t, "bpftool")
	const pin = "/sys/fs/bpf/bpfd-test-changes"
	os.Remove(pin)
	defer os.Remove(pin)
	for _, step := range []struct {
		remote string
		native string
		want   string
	}{
		{"map create " + pin + " type array key 4 value 4 entries 2 name made_remotely", "map show pinned " + pin, "name made_remotely"},
		{"map update pinned " + pin + " key 1 0 0 0 value 7 0 0 0", "map lookup pinned " + pin + " key 1 0 0 0", "value: 07 00 00 00"},
	} {
		if o := run(t, nil, "", remote(append([]string{"bpftool"}, strings.Fields(step.remote)...))...); o.status != 0 {
			t.Fatalf("%s: %s", step.remote, o)
		}
		o := run(t, nil, "", append([]string{"bpftool"}, strings.Fields(step.native)...)...)
		if !strings.Contains(o.stdout, step.want) {
			t.Errorf("%s: %s", step.native, o)
		}
	}
}

// A map with more entries than one chunk of a walk holds.
func TestBpftoolLargeMap(t *testing.T) {
	need(t, "bpftool")
	const pin = "/sys/fs/bpf/bpfd-test-large"
	os.Remove(pin)
	defer os.Remove(pin)
	const entries = 10000
	run(t, nil, "", "bpftool", "map", "create", pin, "type", "hash", "key", "4", "value", "4", "entries", "20000", "name", "large")
	var batch strings.Builder
	for i := range entries {
		batch.WriteString(strings.Join([]string{"map update pinned", pin, "key", bytesOf(i), "value", bytesOf(i * 7)}, " ") + "\n")
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := run(t, nil, "", "bpftool", "batch", "file", file); o.status != 0 {
		t.Fatalf("bpftool batch: %.500s", o)
	}
	command := []string{"bpftool", "map", "dump", "pinned", pin}
	want := run(t, nil, "", command...)
	got := run(t, nil, "", remote(command)...)
	if n := strings.Count(want.stdout, "key:"); n != entries {
		t.Fatalf("%d entries natively", n)
	}
	if got != want {
		t.Errorf("the dumps differ: %d entries remotely", strings.Count(got.stdout, "key:"))
	}
}

func bytesOf(v int) string {
	var b [4]string
	for i := range b {
		b[i] = numberString(v >> (8 * i) & 0xff)
	}
	return strings.Join(b[:], " ")
}
