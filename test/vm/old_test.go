package vm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// fallback is a tool that takes another way where a kernel refuses the first.
type fallback struct {
	name string
	tool []string
	want string // on standard output
	// trace must match what --trace prints: the call that the kernel refuses,
	// and what the tool makes instead; never must not.
	trace, never string
}

// What Linux 5.10 has not, tools do as they would on it. The numbers are those
// of enum bpf_attach_type and of perf event types.
var fallbacks = []fallback{
	{name: "link of a tracepoint", tool: []string{"opensnoop"}, want: `cppload +3 +0 +/etc/hostname$`,
		trace: `BPF_LINK_CREATE\(.*attach_type=41\) = -1 EINVAL\n(.*\n)*.*ioctl PERF_EVENT_IOC_SET_BPF\(.*\) = 0`},
	{name: "link of a kprobe", tool: []string{"filelife"}, want: `rm +[\d.]+ +renamed$`,
		trace: `perf_event_open\(type=6, .*config1="\w+".*\n(.*\n)*.*BPF_LINK_CREATE\(.*attach_type=41\) = -1 EINVAL\n.*ioctl PERF_EVENT_IOC_SET_BPF\(.*\) = 0`},
	{name: "link of a function's entry", tool: []string{"vfsstat", "1"}, want: `^\d\d:\d\d:\d\d: +[1-9]`,
		trace: `BPF_LINK_CREATE\(.*attach_type=24\) = -1 EINVAL\n.*BPF_RAW_TRACEPOINT_OPEN\(.*\) = @`},
	{name: "link of several kprobes", tool: []string{"bpftrace", "-e", `kprobe:do_unlinkat { printf("by %s\n", comm); }`}, want: `^by rm$`,
		trace: `BPF_LINK_CREATE\(.*attach_type=42.*\) = -1 EINVAL\n(.*\n)*.*perf_event_open\(type=6, .*config1="do_unlinkat"`},
}

// Before Linux 4.17 a kprobe is made by writing to a file, and is a tracepoint.
const (
	asTracepoint = `perf_event_open\(type=2, .*\n(.*\n)*.*ioctl PERF_EVENT_IOC_SET_BPF\(.*\) = 0`
	asKprobe     = `perf_event_open\(type=6`
)

var legacy = []fallback{
	{name: "kprobe_events of libbpf", tool: []string{"filelife"}, want: `rm +[\d.]+ +renamed$`, trace: asTracepoint, never: asKprobe},
	{name: "kprobe_events of bcc", tool: []string{"trace-bpfcc", "do_unlinkat"}, want: `rm +do_unlinkat`, trace: asTracepoint, never: asKprobe},
	{name: "kprobe_events of bpftrace", tool: []string{"bpftrace", "-e", `kretprobe:do_unlinkat { printf("by %s, %d\n", comm, retval); }`}, want: `^by rm, 0$`,
		trace: asTracepoint, never: asKprobe},
}

func TestFallbacks(t *testing.T) {
	testenv.Need(t, "opensnoop", "bpftrace", "trace-bpfcc", "apt-get", "dpkg-deb")
	t.Setenv("BCC_KERNEL_SOURCE", "")
	v := vm.Start(t, "5.10-amd64", vm.WithLoad())
	testenv.Must(t, testenv.Run(t, bpfctl, "headers", "-t", v.TargetTCP(), "--fetch"))
	for _, f := range fallbacks {
		t.Run(f.name, func(t *testing.T) { f.run(t, v) })
	}
	v.Sh(t, "mkdir /empty && mount --bind /empty /sys/bus/event_source/devices/kprobe")
	for _, f := range legacy {
		t.Run(f.name, func(t *testing.T) { f.run(t, v) })
	}
	if left := v.Sh(t, "mount -t tracefs tracefs /sys/kernel/tracing && cat /sys/kernel/tracing/kprobe_events"); left != "" {
		t.Errorf("left on the target: %s", left)
	}
}

func (f fallback) run(t *testing.T, v *vm.VM) {
	file := filepath.Join(t.TempDir(), "trace")
	untilWith(t, []string{"-t", v.TargetTCP(), "--trace", file}, append([]string{"stdbuf", "-oL"}, f.tool...), f.want)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(f.trace).Match(b) || f.never != "" && regexp.MustCompile(f.never).Match(b) {
		for line := range strings.Lines(string(b)) {
			t.Logf("%.200s", line)
		}
		t.Errorf("the trace does not match %q, or %q", f.trace, f.never)
	}
}
