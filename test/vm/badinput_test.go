package vm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// noPID is one that no process has: it is more than pid_max of these kernels.
const noPID = "4190000"

// What a tool is told to look at and the target does not have is named, and so
// is the target: functions, processes, and what stands in for what it lacks.
func TestBadInput(t *testing.T) {
	testenv.Need(t, "trace-bpfcc", "uflow", "opensnoop", "bpftrace", "apt-get", "dpkg-deb")
	t.Setenv("BCC_KERNEL_SOURCE", "")
	v := vm.Start(t, "6.1-amd64")
	target := v.TargetTCP()
	testenv.Must(t, testenv.Run(t, bpfctl, "headers", "-t", target, "--fetch"))
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no types ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	const noFunction, gone = "the kernel has no function no_such_function", "no process has the pid " + noPID
	for _, c := range []struct {
		name   string
		flags  []string
		tool   []string
		status int
		want   string // after the target's name
	}{
		{"kprobe of bcc", nil, []string{"trace-bpfcc", "no_such_function"}, 1, noFunction},
		{"kretprobe of bcc", nil, []string{"trace-bpfcc", "r::no_such_function"}, 1, noFunction},
		{"kprobe of bpftrace", nil, []string{"bpftrace", "-e", "kprobe:no_such_function { exit(); }"}, 255, noFunction},
		{"process of a tool that says nothing", nil, []string{"opensnoop", "-p", noPID, "-d", "1"}, 0, gone},
		{"process of bpftrace", nil, []string{"bpftrace", "-p", noPID, "-e", "BEGIN { exit(); }"}, 1, gone},
		{"process of an argument", nil, []string{"uflow", "-l", "python", noPID}, 1, gone},
		{"headers of another release", []string{"--headers", tree(t, "6.1.0-other", "CONFIG_X86_64")}, []string{"true"}, 125,
			"holds kernel headers of release 6.1.0-other, but the target's release is " + v.Release},
		{"headers of another architecture", []string{"--headers", tree(t, v.Release, "CONFIG_ARM64")}, []string{"true"}, 125,
			"holds kernel headers of architecture arm64, but the target's architecture is amd64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			complains(t, append(append([]string{"run", "-t", target}, c.flags...), append([]string{"--"}, c.tool...)...), c.status, target+": ", c.want)
		})
	}
	t.Run("BTF", func(t *testing.T) {
		v.Sh(t, "mkdir /empty && mount --bind /empty /sys/kernel/btf")
		complains(t, []string{"run", "-t", target, "--btf", garbage, "--", "true"}, 125, "--btf: "+garbage, "holds no BTF")
		if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
			t.Skip("this kernel, which is another one, has no BTF")
		}
		complains(t, []string{"run", "-t", target, "--btf", "/sys/kernel/btf/vmlinux", "--", "true"}, 0, "", "is of another kernel than "+target+" runs")
	})
}

// tree makes what tells whose kernel headers a directory holds.
func tree(t *testing.T, release, config string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"include/generated/utsrelease.h": "#define UTS_RELEASE \"" + release + "\"\n",
		"include/generated/autoconf.h":   "#define " + config + " 1\n",
		"include/linux/kconfig.h":        "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// complains runs bpfctl, which must say one thing, in one line with both words,
// and end with a status.
func complains(t *testing.T, args []string, status int, where, what string) {
	t.Helper()
	o := testenv.Run(t, append([]string{bpfctl}, args...)...)
	said := 0
	for line := range strings.Lines(o.Stderr) {
		if strings.HasPrefix(line, "bpfctl: ") {
			said++
			if !strings.Contains(line, where) || !strings.Contains(line, what) {
				t.Errorf("it says %q", line)
			}
		}
	}
	if o.Status != status || said != 1 {
		t.Errorf("not status %d, or bpfctl says %d things: %v", status, said, o)
	}
}
