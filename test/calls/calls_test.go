// Package calls runs a program that makes known calls natively and through
// bpfctl, and compares what it prints.
package calls

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/test/testenv"
)

var bpfctl = testenv.Bin("bpfctl")

// program is what test/calls/prog was built to.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	testenv.Require("bpfctl")
	dir, err := os.MkdirTemp("", "bpfd-calls-")
	if err != nil {
		testenv.Exit("%v", err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "prog")
	if err := testenv.Build(program, "./prog"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// refused are the cases that differ: what they ask for is refused, with warnings
// that contain these words once.
var refused = map[string]struct {
	stdout   string
	warnings []string
}{
	"perf-refused": {"overwritable: ENOTSUP\nAUX: ENOTSUP\n", []string{"overwritable perf buffers", "AUX area"}},
	"refused-sockets": {`update of map type 15: ENOTSOCK
update of map type 18: ENOTSOCK
update of map type 17: ENOTSOCK
update of map type 20: ENOTSOCK
socket storage: ENOTSOCK
`, []string{"hands one of its sockets"}},
	"refused-arena": {"arena: ENOTSUP\n", []string{"maps a BPF arena"}},
	"refused-size": {`update: E2BIG
lookup: E2BIG
lookup of zeros: ok
true
[0 0 0 0] <nil>
a log of 60 MiB: E2BIG
the connection lives: ok
`, []string{"BPF_MAP_UPDATE_ELEM moves", "BPF_MAP_LOOKUP_ELEM moves", "BPF_PROG_LOAD moves"}},
	"refused-unknown": {`command 250: EINVAL
zeros behind the attributes: ok
something behind the command's attributes: EINVAL
something behind all attributes: E2BIG
something behind struct bpf_map_info: E2BIG
`, []string{"bpf command 250", "passes attributes to BPF_MAP_FREEZE"}},
}

// Each case prints the same natively and remotely.
func TestCalls(t *testing.T) {
	names := strings.Fields(testenv.Run(t, program).Stdout)
	if len(names) == 0 {
		t.Fatal("the program has no cases")
	}
	for _, name := range names {
		if _, ok := refused[name]; ok || name == "walk-flood" {
			continue // they have tests of their own
		}
		t.Run(name, func(t *testing.T) {
			native := testenv.Run(t, program, name)
			if native.Status != 0 || native.Stdout == "" {
				t.Fatalf("natively: status %d\n%s%s", native.Status, native.Stdout, native.Stderr)
			}
			got := testenv.RunRemote(t, "shell:", program, name)
			if got.Stdout != native.Stdout || got.Status != native.Status {
				t.Errorf("%s", difference(native, got))
			}
		})
	}
}

// difference shows the lines that differ.
func difference(native, got testenv.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "status natively %d, remotely %d\n", native.Status, got.Status)
	want, have := strings.Split(native.Stdout, "\n"), strings.Split(got.Stdout, "\n")
	for i := range max(len(want), len(have)) {
		var w, h string
		if i < len(want) {
			w = want[i]
		}
		if i < len(have) {
			h = have[i]
		}
		if w != h {
			fmt.Fprintf(&b, "line %d\n natively %.600s\n remotely %.600s\n", i+1, w, h)
		}
	}
	fmt.Fprintf(&b, "%s", got.Stderr)
	return b.String()
}

// What cannot work on a target is refused, with one warning that says so.
func TestRefused(t *testing.T) {
	for name, want := range refused {
		t.Run(name, func(t *testing.T) {
			got := testenv.RunRemote(t, "shell:", program, name)
			if got.Stdout != want.stdout {
				t.Errorf("got %q\nwant %q\n%s", got.Stdout, want.stdout, got.Stderr)
			}
			for _, w := range want.warnings {
				if n := strings.Count(got.Stderr, w); n != 1 {
					t.Errorf("%q is said %d times in %q", w, n, got.Stderr)
				}
			}
		})
	}
}

// A loop that prints and deletes ends although programs insert faster than it
// can delete over any link.
func TestFlood(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for range 100 {
				os.Getppid() // on processor 0 it inserts, where this runs some of the time
			}
			time.Sleep(time.Millisecond)
		}
	}()
	defer func() { cancel(); <-done }()
	got := testenv.RunRemote(t, "shell:", program, "walk-flood")
	if want := "attached\nended true\n"; got.Stdout != want {
		t.Errorf("got %q, want %q\n%s", got.Stdout, want, got.Stderr)
	}
}
