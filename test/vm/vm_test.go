package vm_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"bpfd/test/vm"
)

const bpfctl = "../../bin/bpfctl"

func TestMain(m *testing.M) {
	if _, err := os.Stat(bpfctl); err != nil {
		os.Stderr.WriteString("the tests of virtual machines need bin/bpfctl: run make\n")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// need skips a test of a kernel that is to be built first, and one without QEMU, except in CI, where everything was installed.
func need(t *testing.T, row vm.Row, programs ...string) {
	t.Helper()
	if !vm.Built(row) {
		t.Skipf("the kernel of %s was not built here; make vm KERNEL=%s builds it", row.Name, row.Name)
	}
	for _, program := range append(programs, row.QEMU(), "socat") {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", program)
			}
			t.Skipf("this machine has no %s; test/install installs it", program)
		}
	}
}

// limit is how long a tool may take on a busy machine.
const limit = 5 * time.Minute

// remote runs a tool against a target and returns what it printed.
func remote(t *testing.T, target string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bpfctl, append([]string{"run", "-t", target, "--"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s%s", args, err, out, errs.String())
	}
	return string(out)
}

// Each kernel boots, and its bpfd answers over both ways, again after a session
// that was cut.
func TestBoot(t *testing.T) {
	for _, row := range vm.Rows {
		t.Run(row.Name, func(t *testing.T) {
			need(t, row)
			v := vm.Start(t, row.Name)
			r, err := v.Run(t.Context(), "uname -r; echo said >&2; exit 3")
			if err != nil || r != (vm.Result{Stdout: v.Release + "\n", Stderr: "said\n", Status: 3}) {
				t.Errorf("a command in the guest: %v: %v", err, r)
			}
			for _, target := range []string{v.Target(), v.TargetTCP()} {
				if got := remote(t, target, "uname", "-r"); got != v.Release+"\n" {
					t.Errorf("uname through %s says %q", target, got)
				}
				remote(t, target, "bpftool", "prog", "list")
			}
			cut(t, v.Target())
			remote(t, v.Target(), "bpftool", "map", "list")
		})
	}
}

// cut kills a bpfctl in the middle of its session.
func cut(t *testing.T, target string) {
	t.Helper()
	cmd := exec.Command(bpfctl, "run", "-t", target, "--", "sh", "-c", "echo begun; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
}
