// Package tools runs the suite's rows on this machine: natively, and through
// bpfctl with a bpfd on it.
package tools

import (
	"flag"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bpfd/test/suite"
	"bpfd/test/testenv"
)

// TestShell runs all rows.
func TestShell(t *testing.T) {
	dir := t.TempDir()
	if err := suite.BuildPrograms(dir); err != nil {
		t.Fatalf("test/install installs what is needed: %v", err)
	}
	suite.Run(t, suite.Target{
		Name:     "shell",
		URL:      "shell:",
		Bpfctl:   testenv.Bin("bpfctl"),
		Dir:      dir,
		Env:      []string{"BCC_KERNEL_SOURCE=" + headers(t)},
		Parallel: parallel,
		Lacks:    lacks,
	}, rows())
}

// chosen are the rows of bcc that are run each time, one of each kind: every
// tool compiles for seconds, twice. With -results all are run.
var chosen = []string{
	"softirqs", "hardirqs", "runqlat", "syscount", "profile", "stackcount", "argdist", "trace", "tplist", "opensnoop",
	"no such option",
}

// rows returns the rows to run.
func rows() []suite.Row {
	all := suite.Rows()
	if flag.Lookup("results").Value.String() != "" {
		return all
	}
	return slices.DeleteFunc(all, func(r suite.Row) bool { return r.Family == "bcc" && !slices.Contains(chosen, r.Name) })
}

// lacks skips what is not on this machine, except in CI, where everything was
// installed: there such a row fails.
func lacks(row suite.Row) string {
	if _, err := exec.LookPath(row.Args[0]); err != nil && !strings.HasPrefix(row.Args[0], "{") && !testenv.CI {
		return "this machine has no " + row.Args[0] + "; test/install installs it"
	}
	return ""
}

// TestAllTools finds each program of Debian's packages in a row.
func TestAllTools(t *testing.T) {
	tested := make(map[string]bool)
	for _, row := range suite.Rows() {
		tested[row.Args[0]] = true
	}
	for _, pkg := range []string{"libbpf-tools", "bpfcc-tools", "bpftrace", "bpftool"} {
		files, err := exec.Command("dpkg", "-L", pkg).Output()
		if err != nil {
			testenv.Missing(t, pkg)
		}
		programs := 0
		for _, file := range strings.Fields(string(files)) {
			if dir, name := filepath.Split(file); dir == "/usr/sbin/" || dir == "/usr/bin/" {
				programs++
				if !tested[name] {
					t.Errorf("no row runs %s", file)
				}
			}
		}
		if programs == 0 {
			t.Errorf("%s has no programs", pkg)
		}
	}
}

// TestRows finds rows that prove nothing, and rows with the same name.
func TestRows(t *testing.T) {
	names := make(map[string]bool)
	for _, row := range slices.Concat(suite.Rows(), suite.GuestRows(nil), suite.RegisterRows(nil)) {
		name := row.Family + "/" + row.Name
		if names[name] {
			t.Errorf("two rows are named %s", name)
		}
		names[name] = true
		if len(row.Want) == 0 && !row.Fails {
			t.Errorf("%s does not say what must be seen", name)
		}
	}
}

// parallel is how many rows run at a time: most of them wait most of the time.
const parallel = 6

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(parallel))
	testenv.Main(m, "bpfctl")
}

// headers returns a tree of kernel headers in the form that BCC_KERNEL_SOURCE
// wants: Debian splits it in two.
func headers(t *testing.T) string {
	t.Helper()
	common, amd64 := testenv.Headers(t)
	dir := t.TempDir()
	for _, tree := range []string{common, amd64} {
		if out, err := exec.Command("cp", "-rsf", tree+"/.", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}
