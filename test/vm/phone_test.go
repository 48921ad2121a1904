package vm_test

import (
	"strings"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// phone is the row of a kernel without BTF and without system call tracepoints.
const phone = "5.10-phone-arm64"

// Tools run against a kernel that has neither BTF nor tracepoints of system
// calls: bcc's with the headers that it shows, others with --btf; and what
// cannot run says what the target lacks.
func TestPhone(t *testing.T) {
	v := vm.Start(t, phone, vm.WithLoad())
	testenv.Need(t, "opensnoop-bpfcc", "exitsnoop", "bpftrace", "pahole")
	t.Setenv("XDG_CACHE_HOME", cacheWith(t))
	t.Setenv("BCC_KERNEL_SOURCE", "")
	target := v.TargetTCP()
	btf, err := v.BTF()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("kheaders", func(t *testing.T) {
		until(t, target, []string{"opensnoop-bpfcc"}, `^\d+ +cppload +3 +0 +/etc/hostname$`)
	})
	t.Run("libbpf", func(t *testing.T) {
		printsUntil(t, "PCOMM", "run", "-t", target, "--btf", btf, "--", "exitsnoop")
	})
	t.Run("bpftrace", func(t *testing.T) {
		printsUntil(t, "exec true 1", "run", "-t", target, "--btf", btf, "--", "bpftrace", "-e",
			`tracepoint:sched:sched_process_exec { printf("exec %s %d\n", str(args->filename) == "/bin/true" ? "true" : "other", ((struct task_struct *)curtask)->tgid == pid); }`)
	})
	for _, c := range []struct {
		name string
		tool []string
		want string
	}{
		{"no BTF", []string{"exitsnoop"}, "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF is off): give --btf FILE"},
		{"no syscalls", []string{"bpftrace", "-e", "tracepoint:syscalls:sys_enter_openat { exit(); }"}, "the kernel has no tracepoints at system calls"},
	} {
		t.Run(c.name, func(t *testing.T) { lacks(t, target, c.want, c.tool...) })
	}
}

// lacks runs a tool that must fail by itself, and bpfctl must say what the
// target lacks.
func lacks(t *testing.T, target, want string, tool ...string) {
	t.Helper()
	if o := testenv.RunRemote(t, target, tool...); o.Status != 1 || !strings.Contains(o.Stderr, "bpfctl: "+target+": "+want) {
		t.Error(o)
	}
}
