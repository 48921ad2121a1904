package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Need is something that tools need of a target.
type Need string

// What tools need.
const (
	BPF        Need = "bpf"
	BTF        Need = "btf"
	Headers    Need = "headers"
	Kprobes    Need = "kprobes"
	Uprobes    Need = "uprobes"
	Tracefs    Need = "tracefs"
	Syscalls   Need = "syscall tracepoints"
	Fentry     Need = "fentry"
	RingBuffer Need = "ring buffer"
)

// check is a row of the examination. lacks says what a target without it lacks.
type check struct {
	name  string
	need  Need
	lacks string
	run   func(*exam) Finding
}

// checks are made in this order.
var checks []check

// The rows are set here, since they refer to functions that refer to them.
func init() {
	checks = []check{
		{"architecture", "", "", architecture},
		{"kernel", "", "", func(e *exam) Finding { return good("%s", e.facts.Release) }},
		{"bpf(2)", BPF, "bpfd may not use bpf(2): it needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN", bpf},
		{"BTF", BTF, "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF is off): give --btf FILE with the types of this very kernel", hasFile(BTF)},
		{"kernel headers", Headers, "there are no headers of its kernel: bpfctl headers says where to get them", headers},
		{"kprobes", Kprobes, "the kernel has no kprobes (CONFIG_KPROBE_EVENTS is off): use tools that use tracepoints", hasFile(Kprobes)},
		{"uprobes", Uprobes, "the kernel has no uprobes (CONFIG_UPROBE_EVENTS is off)", hasFile(Uprobes)},
		{"tracefs", Tracefs, "there is no tracefs (CONFIG_TRACING is off, or it is not mounted and bpfd may not mount it)", hasFile(Tracefs)},
		{"syscall tracepoints", Syscalls, "the kernel has no tracepoints at system calls (CONFIG_FTRACE_SYSCALLS is off): use tools that use kprobes", hasFile(Syscalls)},
		{"fentry", Fentry, "the kernel cannot attach to the entry of functions (x86: Linux 5.5, arm64: 6.4, and BTF)", fentry},
		{"ring buffer", RingBuffer, "the kernel has no BPF ring buffer (Linux 5.8)", ringBuffer},
		{"lockdown", "", "", lockdown},
		{"SELinux", "", "", selinux},
		{"kernel symbols", "", "", symbols},
		{"round trip", "", "", func(e *exam) Finding { return good("%v", e.facts.RTT.Round(time.Microsecond)) }},
		{"bandwidth", "", "", bandwidth},
		{"clock offset", "", "", func(e *exam) Finding { return good("%v", e.facts.Offset.Round(time.Millisecond)) }},
	}
}

func architecture(e *exam) Finding {
	return good("%s (%s)", e.facts.Arch, e.facts.Machine)
}

// Files are those of which one at least is there if a target has what tools
// need.
var Files = map[Need][]string{
	BTF:      {"/sys/kernel/btf/vmlinux"},
	Kprobes:  {"/sys/bus/event_source/devices/kprobe", "/sys/kernel/tracing/kprobe_events", "/sys/kernel/debug/tracing/kprobe_events"},
	Uprobes:  {"/sys/bus/event_source/devices/uprobe", "/sys/kernel/tracing/uprobe_events", "/sys/kernel/debug/tracing/uprobe_events"},
	Tracefs:  {"/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"},
	Syscalls: {"/sys/kernel/tracing/events/syscalls", "/sys/kernel/debug/tracing/events/syscalls"},
}

// hasFile checks that one of a need's files is there.
func hasFile(n Need) func(*exam) Finding {
	return func(*exam) Finding {
		for _, path := range Files[n] {
			if _, err := os.Stat(path); err == nil {
				return good("yes")
			}
		}
		return bad("no", Cause(n))
	}
}

// capabilities that let a process use BPF, capabilities(7).
var capabilities = []struct {
	bit  uint
	name string
}{{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}}

func bpf(e *exam) Finding {
	var have []string
	for _, c := range capabilities {
		if e.facts.Caps&(1<<c.bit) != 0 {
			have = append(have, c.name)
		}
	}
	who := fmt.Sprintf("yes, as uid %d with %s", e.facts.UID, strings.Join(have, ", "))
	err := features.HaveMapType(ebpf.Array)
	switch {
	case err == nil:
		return good("%s", who)
	case errors.Is(err, unix.ENOSYS):
		return bad("no", "the kernel has no bpf(2) (CONFIG_BPF_SYSCALL is off)")
	}
	return bad("no: "+err.Error(), Cause(BPF))
}

func headers(e *exam) Finding {
	if e.facts.Headers {
		return good("yes")
	}
	return bad("no", Cause(Headers))
}

// fentry attaches a program that does nothing to a function which is there for
// that purpose, net/bpf/test_run.c.
func fentry(*exam) Finding {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFEntry, AttachTo: "bpf_fentry_test1", License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err == nil {
		defer p.Close()
		var l link.Link
		if l, err = link.AttachTracing(link.TracingOptions{Program: p}); err == nil {
			l.Close()
			return good("yes")
		}
	}
	return bad("no", Cause(Fentry))
}

func ringBuffer(*exam) Finding {
	if features.HaveMapType(ebpf.RingBuf) != nil {
		return bad("no", Cause(RingBuffer))
	}
	return good("yes")
}

// read returns what a file says, "" if it cannot be read.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lockdown reads a line like "none [integrity] confidentiality".
func lockdown(*exam) Finding {
	_, rest, _ := strings.Cut(read("/sys/kernel/security/lockdown"), "[")
	mode, _, _ := strings.Cut(rest, "]")
	switch mode {
	case "", "none":
		return good("none")
	case "confidentiality":
		return bad(mode, "programs may not read the kernel's memory: boot with lockdown=integrity, or without secure boot")
	}
	return good("%s", mode)
}

func selinux(*exam) Finding {
	switch read("/sys/fs/selinux/enforce") {
	case "":
		return good("none")
	case "0":
		return good("permissive")
	}
	return good("enforcing (domain %s)", strings.TrimRight(read("/proc/self/attr/current"), "\x00"))
}

// symbols looks whether kallsyms shows addresses (kernel.kptr_restrict).
func symbols(*exam) Finding {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return bad("no", "the kernel shows no symbols (CONFIG_KALLSYMS is off): stacks show addresses only")
	}
	defer f.Close()
	line := make([]byte, 16)
	if n, _ := f.Read(line); strings.Trim(string(line[:n]), "0") == "" {
		return bad("hidden", "kernel.kptr_restrict hides addresses: sysctl kernel.kptr_restrict=1 as root")
	}
	return good("yes")
}

func bandwidth(e *exam) Finding {
	if e.facts.Rate == 0 {
		return good("not measured")
	}
	return good("%.1f MB/s", e.facts.Rate/1e6)
}
