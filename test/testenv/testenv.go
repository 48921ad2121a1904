// Package testenv is what the tests of whole programs share: what make has
// built, what a machine must have, how commands run, and how long to wait.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// CI says that test/install has run: what a machine then lacks is a failure,
// elsewhere a reason to skip.
var CI = os.Getenv("CI") != ""

// Bin returns the absolute path of bin/NAME, which make builds: below the
// module's root, or the working directory where that is outside of the module.
func Bin(name string) string {
	dir, _ := os.Getwd()
	for root := dir; root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			dir = root
			break
		}
	}
	return filepath.Join(dir, "bin", name)
}

// Main is the TestMain of tests that need what Require does.
func Main(m *testing.M, programs ...string) {
	Require(programs...)
	os.Exit(m.Run())
}

// Require is for tests that run BPF programs on this machine: it ends the
// process with status 1 unless that is root's and make has built the programs
// of bin/, and mounts what tools look into.
func Require(programs ...string) {
	if os.Geteuid() != 0 {
		Exit("these tests load BPF programs: run them as root")
	}
	Built(programs...)
	Mount()
}

// Built ends the process with status 1 if one of the programs is not in bin/.
func Built(programs ...string) {
	for _, name := range programs {
		if _, err := os.Stat(Bin(name)); err != nil {
			Exit("these tests need bin/%s: run make", name)
		}
	}
}

// Exit says why no test can run, and ends the process with status 1.
func Exit(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

// Mount mounts tracefs, debugfs and the BPF file system where they are not
// there. It need not succeed: the tests say what a kernel lacks.
func Mount() {
	for _, fs := range []struct{ kind, dir, holds string }{
		{"tracefs", "/sys/kernel/tracing", "events"},
		{"debugfs", "/sys/kernel/debug", "tracing"},
		{"bpf", "/sys/fs/bpf", ""}, // nothing is in it that tells
	} {
		if _, err := os.Stat(filepath.Join(fs.dir, fs.holds)); err == nil && fs.holds != "" {
			continue
		}
		if exec.Command("mountpoint", "-q", fs.dir).Run() != nil {
			exec.Command("mount", "-t", fs.kind, fs.kind, fs.dir).Run()
		}
	}
}

// Need skips a test where one of the programs is not installed, by name or by
// path; with CI it fails the test.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			Missing(t, program)
		}
	}
}

// Missing skips a test for something that test/install installs; with CI it
// fails the test.
func Missing(t testing.TB, what string) {
	t.Helper()
	if CI {
		t.Fatalf("%s is not installed", what)
	}
	t.Skipf("this machine has no %s; test/install installs it", what)
}

// Headers returns Debian's kernel headers of this machine, which are split in
// two trees: what all architectures share, and what is amd64's.
func Headers(t testing.TB) (common, amd64 string) {
	t.Helper()
	commons, _ := filepath.Glob("/usr/src/linux-headers-*-common")
	amd64s, _ := filepath.Glob("/usr/src/linux-headers-*-amd64")
	if len(commons) == 0 || len(amd64s) == 0 {
		Missing(t, "Debian kernel headers")
	}
	return commons[0], amd64s[0]
}

// Build builds a Go program of the module, as go build names it, into the file
// out; env is in addition to the environment, as GOARCH=arm64.
func Build(out, program string, env ...string) error {
	cmd := exec.Command("go", "build", "-o", out, program)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", program, err, said)
	}
	return nil
}
