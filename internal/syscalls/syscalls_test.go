package syscalls

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstall(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for arch, want := range map[string]string{
		"arm64": "56\topenat\n", "riscv64": "56\topenat\n", "arm": "322\topenat\n", "amd64": "257\topenat\n",
	} {
		for range 2 {
			bin, err := Install(arch)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(filepath.Join(bin, "ausyscall"), "--dump").Output()
			if err != nil || !strings.Contains(string(out), "\n"+want) {
				t.Errorf("%s: no %q: %v", arch, want, err)
			}
		}
	}
	if _, err := Install("pdp11"); err == nil {
		t.Error("there are system calls of a pdp11")
	}
}

// The table of this machine says what its compiler knows.
func TestTable(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	bin, err := Install("amd64")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(bin, "ausyscall"), "--dump").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, want := range []string{fmt.Sprintf("%d\tread", 0), "321\tbpf", "298\tperf_event_open"} {
		found := false
		for _, l := range lines {
			found = found || l == want
		}
		if !found {
			t.Errorf("no line %q", want)
		}
	}
	if len(lines) < 300 {
		t.Errorf("%d lines", len(lines))
	}
}
