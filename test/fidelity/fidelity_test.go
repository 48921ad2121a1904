// Package fidelity runs tools on a target that differs from this machine in
// all that namespaces can make different, and looks whether they see the
// target's. There is a test for each thing that programs check and that would
// give the host away.
package fidelity

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var bpfctl, bpfd = absolute("../../bin/bpfctl"), absolute("../../bin/bpfd")

func absolute(path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return p
}

func TestMain(m *testing.M) {
	if _, err := os.Stat(bpfctl); err != nil || os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need bin/bpfctl, which make builds, and root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// outcome is what a command leaves.
type outcome struct {
	out, errs string
	status    int
}

func (o outcome) String() string {
	return fmt.Sprintf("status %d, stdout %q, stderr %q", o.status, o.out, o.errs)
}

// limit is how long a command may take.
const limit = time.Minute

func run(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// scene is a machine that differs from this one, testdata/elsewhere.
type scene struct {
	t   *testing.T
	dir string // is here and there; dir/mnt has something there only
	env []string
}

func elsewhere(t *testing.T) *scene {
	dir := t.TempDir()
	return &scene{t, dir, []string{"SCENE=" + dir, "BPFD=" + bpfd, "PERSONALITY="}}
}

// run runs a tool on the scene's machine. In scripts, $NAP and $WAITER are
// processes there.
func (s *scene) run(args ...string) outcome {
	s.t.Helper()
	return run(s.t, s.env, append([]string{bpfctl, "run", "-t", "shell:exec " + absolute("testdata/elsewhere"), "--"}, args...)...)
}

// prelude finds the processes of testdata/elsewhere.
const prelude = `set -e
find() { grep -lx "$1" /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3; }
NAP=$(find nap) WAITER=$(find waiter)
export NAP WAITER
`

// script runs a shell script, which must succeed.
func (s *scene) script(script string) string {
	s.t.Helper()
	o := s.run("sh", "-c", prelude+script)
	if o.status != 0 || o.errs != "" {
		s.t.Fatal(o)
	}
	return o.out
}

// expect compares what a script prints.
func (s *scene) expect(want, script string) {
	s.t.Helper()
	if got := s.script(script); got != want {
		s.t.Errorf("%s\nprints %q, not %q", script, got, want)
	}
}

// need skips a test if the tool is not on this machine, except in CI, where
// everything was installed.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", tool)
			}
			t.Skipf("this machine has no %s; test/install installs it", tool)
		}
	}
}

// compile makes a program of testdata.
func compile(t *testing.T, source, program string, flags ...string) {
	t.Helper()
	need(t, "gcc")
	if out, err := exec.Command("gcc", append(flags, "-O1", "-g", "-o", program, "testdata/"+source)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
