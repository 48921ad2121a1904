// Package calls runs a program that makes known calls natively and through
// bpfctl, and compares what it prints.
package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const bpfctl = "../../bin/bpfctl"

// limit is how long a run may take: longer means that it hangs.
const limit = time.Minute

// program is what test/calls/prog was built to.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if _, err := os.Stat(bpfctl); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need bin/bpfctl: run make")
		return 1
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests load BPF programs natively: run them as root")
		return 1
	}
	for _, m := range [][3]string{
		{"/sys/kernel/tracing/events", "tracefs", "/sys/kernel/tracing"}, {"/sys/fs/bpf/x", "bpf", "/sys/fs/bpf"},
	} {
		if _, err := os.Stat(m[0]); err != nil && exec.Command("mountpoint", "-q", m[2]).Run() != nil {
			exec.Command("mount", "-t", m[1], m[1], m[2]).Run()
		}
	}
	dir, err := os.MkdirTemp("", "bpfd-calls-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "prog")
	build := exec.Command("go", "build", "-o", program, "./prog")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ./prog: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// outcome is what a run leaves.
type outcome struct {
	stdout, stderr string
	status         int
}

// run runs a command to its end.
func run(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v did not end in %v\n%.4000s\n%.4000s", args, limit, out.String(), errs.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func remote(args ...string) []string {
	return append([]string{bpfctl, "run", "-t", "shell:", "--"}, args...)
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
	names := strings.Fields(run(t, program).stdout)
	if len(names) == 0 {
		t.Fatal("the program has no cases")
	}
	for _, name := range names {
		if _, ok := refused[name]; ok || name == "walk-flood" {
			continue // they have tests of their own
		}
		t.Run(name, func(t *testing.T) {
			native := run(t, program, name)
			if native.status != 0 || native.stdout == "" {
				t.Fatalf("natively: status %d\n%s%s", native.status, native.stdout, native.stderr)
			}
			got := run(t, remote(program, name)...)
			if got.stdout != native.stdout || got.status != native.status {
				t.Errorf("%s", difference(native, got))
			}
		})
	}
}

// difference shows the lines that differ.
func difference(native, got outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "status natively %d, remotely %d\n", native.status, got.status)
	want, have := strings.Split(native.stdout, "\n"), strings.Split(got.stdout, "\n")
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
	fmt.Fprintf(&b, "%s", got.stderr)
	return b.String()
}

// What cannot work on a target is refused, with one warning that says so.
func TestRefused(t *testing.T) {
	for name, want := range refused {
		t.Run(name, func(t *testing.T) {
			got := run(t, remote(program, name)...)
			if got.stdout != want.stdout {
				t.Errorf("got %q\nwant %q\n%s", got.stdout, want.stdout, got.stderr)
			}
			for _, w := range want.warnings {
				if n := strings.Count(got.stderr, w); n != 1 {
					t.Errorf("%q is said %d times in %q", w, n, got.stderr)
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
	got := run(t, remote(program, "walk-flood")...)
	if want := "attached\nended true\n"; got.stdout != want {
		t.Errorf("got %q, want %q\n%s", got.stdout, want, got.stderr)
	}
}
