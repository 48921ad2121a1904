package text

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/test/vm"
)

// limit is how long a guest may take on a busy machine.
const limit = 5 * time.Minute

// boot starts a guest whose kernel has kprobes.
func boot(t *testing.T, name string) *vm.VM {
	t.Helper()
	row, err := vm.RowOf(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{row.QEMU(), "socat"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", program)
			}
			t.Skipf("this machine has no %s; test/install installs it", program)
		}
	}
	return vm.Start(t, name)
}

// play has bpfctl play a file of commands in a guest.
func play(t *testing.T, ctx context.Context, v *vm.VM, commands string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, bpfctl, "text", "-t", v.TargetTCP(), file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestAnnouncement: the example of 2017 runs on a kernel with kprobes.
func TestAnnouncement(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	example, err := os.ReadFile("../../doc/examples/opensnoop-kprobe.txt")
	if err != nil {
		t.Fatal(err)
	}
	v := boot(t, "6.1-amd64")
	opening := &vm.Cmd{Args: []string{"/bin/sh", "-c", "while :; do cat /etc/passwd; sleep 0.1; done"}}
	if err := v.Start(opening); err != nil {
		t.Fatal(err)
	}
	defer opening.Kill()
	// Kernels of today have no sys_open that takes a path.
	out := play(t, ctx, v, strings.ReplaceAll(string(example), " sys_open ", " getname "))
	for _, want := range []string{"bpf_prog_load: ret=5\n", "bpf_prog_load: ret=6\n", "bpf_attach_kprobe: ret=5\n", "bpf_attach_kprobe: ret=6\n", "bpf_detach_kprobe: ret=0\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not there", want)
		}
	}
	if shown(out, "/etc/passwd") == 0 {
		t.Errorf("/etc/passwd was not seen in %s", out)
	}
}
