// Package tools runs the suite's rows on this machine: natively, and through
// bpfctl with a bpfd on it.
package tools

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bpfd/test/suite"
)

const bpfctl = "../../bin/bpfctl"

// TestShell runs all rows.
func TestShell(t *testing.T) {
	path, err := filepath.Abs(bpfctl)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := suite.BuildPrograms(dir); err != nil {
		t.Fatalf("test/install installs what is needed: %v", err)
	}
	suite.Run(t, suite.Target{
		Name:     "shell",
		URL:      "shell:",
		Bpfctl:   path,
		Dir:      dir,
		Env:      []string{"BCC_KERNEL_SOURCE=" + headers(t)},
		Parallel: parallel,
		Lacks:    lacks,
	}, rows())
}

// chosen are the rows of bcc, and of the programs of bpftrace, that are run each
// time, one of each kind: every tool compiles for seconds, twice. With -results all are run.
var chosen = []string{
	"softirqs", "hardirqs", "runqlat", "syscount", "profile", "stackcount", "argdist", "trace", "tplist", "opensnoop",
	"no such option", "bashreadline.bt",
}

// longFamily returns whether only the chosen rows of a family run each time.
func longFamily(r suite.Row) bool { return r.Family == "bcc" || r.Family == "bpftrace's programs" }

// rows returns the rows to run.
func rows() []suite.Row {
	all := suite.Rows()
	if flag.Lookup("results").Value.String() != "" {
		return all
	}
	return slices.DeleteFunc(all, func(r suite.Row) bool { return longFamily(r) && !slices.Contains(chosen, r.Name) })
}

// lacks skips what is not on this machine, except in CI, where everything was
// installed: there such a row fails.
func lacks(row suite.Row) string {
	if _, err := exec.LookPath(row.Args[0]); err != nil && !strings.HasPrefix(row.Args[0], "{") && os.Getenv("CI") == "" {
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
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", pkg)
			}
			t.Skipf("this machine has no %s; test/install installs it", pkg)
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
	for _, row := range append(suite.Rows(), suite.GuestRows(nil)...) {
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
	if _, err := os.Stat(bpfctl); err != nil {
		fmt.Fprintln(os.Stderr, "the tests of tools need bin/bpfctl: run make")
		os.Exit(1)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the tests of tools load BPF programs natively: run them as root")
		os.Exit(1)
	}
	// bpftrace and bcc need these natively as well.
	for _, m := range []struct{ kind, dir, has string }{
		{"tracefs", "/sys/kernel/tracing", "events"},
		{"debugfs", "/sys/kernel/debug", "tracing"},
	} {
		if _, err := os.Stat(filepath.Join(m.dir, m.has)); err != nil {
			exec.Command("mount", "-t", m.kind, m.kind, m.dir).Run()
		}
	}
	if exec.Command("mountpoint", "-q", "/sys/fs/bpf").Run() != nil {
		exec.Command("mount", "-t", "bpf", "bpf", "/sys/fs/bpf").Run()
	}
	os.Exit(m.Run())
}

// headers returns a tree of kernel headers in the form that BCC_KERNEL_SOURCE
// wants: Debian splits it in two.
func headers(t *testing.T) string {
	t.Helper()
	arch, _ := filepath.Glob("/usr/src/linux-headers-*-amd64")
	common, _ := filepath.Glob("/usr/src/linux-headers-*-common")
	if len(arch) == 0 || len(common) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no kernel headers are installed")
		}
		t.Skip("this machine has no Debian kernel headers; test/install installs them")
	}
	dir := t.TempDir()
	for _, tree := range []string{common[0], arch[0]} {
		if out, err := exec.Command("cp", "-rsf", tree+"/.", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}
