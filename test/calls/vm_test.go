package calls

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

const (
	// oldKernel lacks much of what this machine's kernel has.
	oldKernel = "5.10-amd64"
	// hanging is a case that has this kernel hang under emulation, with a
	// group of clocks: natively as well.
	hanging = "perf-group"
)

// On a kernel that lacks commands, map types and flags, each case prints the
// same inside of the guest and from here: the errors are those by which tools
// tell that something is missing.
func TestOldKernel(t *testing.T) {
	row, err := vm.RowOf(oldKernel)
	if err != nil {
		t.Fatal(err)
	}
	if row.Arch != runtime.GOARCH {
		t.Skip("the guest would need another build of the program")
	}
	v := vm.Start(t, oldKernel, vm.WithFile(program, program))
	v.Sh(t, "mount -t tracefs tracefs /sys/kernel/tracing && mount -t bpf bpf /sys/fs/bpf")
	missing := 0
	for _, name := range strings.Fields(testenv.Run(t, program).Stdout) {
		if _, ok := refused[name]; ok || name == "walk-flood" || name == hanging {
			continue // they have tests of their own
		}
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			// Before Linux 5.11 maps count as locked memory; bpfd raises its limit.
			native, err := v.Run(ctx, "ulimit -l unlimited; exec "+program+" "+name)
			if err != nil {
				t.Fatalf("inside of the guest: %v", err)
			}
			got := testenv.RunRemote(t, v.TargetTCP(), program, name)
			if got.Stdout != native.Stdout || got.Status != native.Status {
				t.Errorf("%s", difference(native, got))
			}
			if strings.Contains(native.Stdout, "EINVAL") || strings.Contains(native.Stdout, "ENOTSUPP") || native.Status != 0 {
				missing++
			}
		})
	}
	t.Logf("%d cases are refused something", missing)
	if missing == 0 && !t.Failed() {
		t.Error("the kernel lacks nothing")
	}
}
