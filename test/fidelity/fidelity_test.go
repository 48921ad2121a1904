// Package fidelity runs tools on a target that differs from this machine in
// all that namespaces can make different, and looks whether they see the
// target's. There is a test for each thing that programs check and that would
// give the host away.
package fidelity

import (
	"os/exec"
	"testing"

	"bpfd/test/testenv"
)

var bpfctl = testenv.Bin("bpfctl")

func TestMain(m *testing.M) { testenv.Main(m, "bpfctl", "bpfd") }

// scene is a machine that differs from this one, testdata/elsewhere.
type scene struct {
	t   *testing.T
	dir string // is here and there; dir/mnt has something there only
	env []string
}

func elsewhere(t *testing.T) *scene {
	dir := t.TempDir()
	return &scene{t, dir, []string{"SCENE=" + dir, "BPFD=" + testenv.Bin("bpfd"), "PERSONALITY="}}
}

// run runs a tool on the scene's machine. In scripts, $NAP and $WAITER are
// processes there, and $BOXED is one with another root directory.
func (s *scene) run(args ...string) testenv.Outcome {
	s.t.Helper()
	return testenv.RunEnv(s.t, s.env, testenv.Remote(machine, args...)...)
}

// machine is the scene's, as a target.
const machine = "shell:exec testdata/elsewhere"

// prelude finds the processes of testdata/elsewhere.
const prelude = `set -e
find() { grep -lx "$1" /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3; }
NAP=$(find nap) WAITER=$(find waiter) BOXED=$(find boxed)
export NAP WAITER BOXED
`

// script runs a shell script, which must succeed.
func (s *scene) script(script string) string {
	s.t.Helper()
	o := s.run("sh", "-c", prelude+script)
	if o.Status != 0 || o.Stderr != "" {
		s.t.Fatal(o)
	}
	return o.Stdout
}

// expect compares what a script prints.
func (s *scene) expect(want, script string) {
	s.t.Helper()
	if got := s.script(script); got != want {
		s.t.Errorf("%s\nprints %q, not %q", script, got, want)
	}
}

// compile makes a program of testdata.
func compile(t *testing.T, source, program string, flags ...string) {
	t.Helper()
	testenv.Need(t, "gcc")
	if out, err := exec.Command("gcc", append(flags, "-O1", "-g", "-o", program, "testdata/"+source)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
