// Package headers runs tools against targets with and without what tools need
// to know of a kernel: its headers and its type information.
package headers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

var bpfctl, bpfd = testenv.Bin("bpfctl"), testenv.Bin("bpfd")

func TestMain(m *testing.M) { testenv.Main(m, "bpfctl", "bpfd") }

// bpfctlRun runs bpfctl with a cache, and nothing in the environment that
// names headers.
func bpfctlRun(t *testing.T, cache string, args ...string) testenv.Outcome {
	t.Helper()
	env := []string{"XDG_CACHE_HOME=" + cache, "BCC_KERNEL_SOURCE=", "BPFD_ANY_HEADERS=", "PYTHONUNBUFFERED=1", "LC_ALL=C"}
	return testenv.RunEnv(t, env, append([]string{bpfctl}, args...)...)
}

// target is a bpfd on this machine for which a shell script has changed what
// the kernel shows, in a mount namespace of its own.
func target(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target")
	text := "set -e\n" + script + "\nexec " + bpfd + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return "shell:exec unshare -m sh " + path
}

// showing is a script that makes a file appear in /sys/kernel.
func showing(file string) string {
	return `orig=$(mktemp -d)
mount --rbind /sys/kernel $orig
mount -t tmpfs none /sys/kernel
for f in $orig/*; do
	n=/sys/kernel/${f##*/}
	if [ -d $f ]; then mkdir $n; else : >$n; fi
	mount --rbind $f $n
done
cp ` + file + ` /sys/kernel/`
}

// kheaders packs Debian's kernel headers as a kernel with this release would.
func kheaders(t *testing.T, release string) string {
	t.Helper()
	common, amd64 := testenv.Headers(t)
	dir := t.TempDir()
	script := `set -e
mkdir tree
cd tree
for t in $1 $2; do (cd $t; find include arch/x86/include -name '*.h' -print0) | tar -C $t --null -cf - -T - | tar xf -; done
printf '#define UTS_RELEASE "%s"\n' $3 >include/generated/utsrelease.h
tar -I 'xz -0' -cf ../kheaders.tar.xz .`
	cmd := exec.Command("sh", "-c", script, "sh", common, amd64, release)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir + "/kheaders.tar.xz"
}

// trees are the headers in a cache; what begins with a dot is a lock.
func trees(cache string) []string {
	list, _ := filepath.Glob(cache + "/bpfd/headers/[^.]*")
	return list
}

func release(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("uname", "-r").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// includes is a bpftrace program that needs headers even where there is BTF.
const includes = "#include <linux/path.h>\nBEGIN { printf(\"size %d\\n\", sizeof(struct path)); exit(); }"

// bcc's tools and bpftrace find the headers that the target shows, where a
// tool looks for them, and again in the cache; a tool that needs none does not
// wait for them.
func TestKheaders(t *testing.T) {
	testenv.Need(t, "syscount-bpfcc", "bpftrace", "xz")
	cache := t.TempDir()
	with := target(t, showing(kheaders(t, release(t))))
	entries := func() int { return len(trees(cache)) }
	o := bpfctlRun(t, cache, "run", "-t", with, "--", "sh", "-c", "ls /lib/modules; ls /lib/modules/*; cat /sys/kernel/oops_count")
	if want := release(t) + "\nbuild\nsource\n"; !strings.HasPrefix(o.Stdout, want) || o.Stderr != "" || entries() != 0 {
		t.Errorf("%+v, %d trees in the cache", o, entries())
	}
	for _, again := range []string{"the first time", "from the cache"} {
		o = bpfctlRun(t, cache, "run", "-t", with, "--", "syscount-bpfcc", "-d", "1")
		if o.Status != 0 || !strings.Contains(o.Stdout, "SYSCALL") || o.Stderr != "" || entries() != 1 {
			t.Errorf("syscount, %s: %+v, %d trees in the cache", again, o, entries())
		}
		o = bpfctlRun(t, cache, "run", "-t", with, "--", "bpftrace", "-e", includes)
		if o.Status != 0 || !strings.Contains(o.Stdout, "size 16\n") {
			t.Errorf("bpftrace, %s: %+v", again, o)
		}
	}
}

// A tool that needs headers which are nowhere fails, and bpfctl says what the
// target would allow; it says nothing to those that need none.
func TestNoHeaders(t *testing.T) {
	testenv.Need(t, "syscount-bpfcc", "bpftrace")
	cache := t.TempDir()
	o := bpfctlRun(t, cache, "run", "-t", "shell:"+bpfd, "--", "syscount-bpfcc", "-d", "1")
	if o.Status == 0 || strings.Count(o.Stderr, "bpfctl: ") != 1 || !strings.Contains(o.Stderr, "no kernel headers of "+release(t)) {
		t.Errorf("%v", o)
	}
	o = bpfctlRun(t, cache, "run", "-t", "shell:"+bpfd, "--", "bpftrace", "-e", `tracepoint:syscalls:sys_enter_nanosleep,tracepoint:sched:sched_switch { printf("%s\n", probe); exit(); }`)
	if o.Status != 0 || strings.Contains(o.Stderr, "headers") {
		t.Errorf("%v", o)
	}
	o = bpfctlRun(t, cache, "headers", "-t", "shell:"+bpfd, "--fetch")
	if o.Status != 125 || o.Stdout != "" || strings.Count(o.Stderr, "\n") != 1 {
		t.Errorf("%v", o)
	}
}

// Headers of another kernel are refused: at once if the command line names
// them, when a tool looks for them if the environment does.
func TestOtherHeaders(t *testing.T) {
	testenv.Need(t, "syscount-bpfcc", "xz")
	cache := t.TempDir()
	packed := kheaders(t, "5.10.0-other")
	other := target(t, showing(packed))
	whole, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "kheaders.tar.xz")
	if err := os.WriteFile(short, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	truncated := target(t, showing(short))
	for _, c := range []struct {
		args []string
		tool []string
		want string
	}{
		{[]string{"-t", truncated}, []string{"syscount-bpfcc", "-d", "1"}, truncated + ": the target's /sys/kernel/kheaders.tar.xz: the archive is truncated"},
		{[]string{"-t", other}, []string{"syscount-bpfcc", "-d", "1"}, "release 5.10.0-other, but the target's release is " + release(t)},
		{[]string{"-t", "shell:" + bpfd, "--headers", filepath.Dir(packed) + "/tree"}, []string{"true"}, "release 5.10.0-other, but the target's release is " + release(t)},
		{[]string{"-t", "shell:" + bpfd, "--headers", "/nonexistent"}, []string{"true"}, "--headers: /nonexistent: no such file or directory"},
		{[]string{"-t", "shell:" + bpfd, "--headers", "/usr/include"}, []string{"true"}, "/usr/include holds no headers of a built kernel"},
	} {
		o := bpfctlRun(t, cache, append(append(append([]string{"run"}, c.args...), "--"), c.tool...)...)
		if o.Status == 0 || !strings.Contains(o.Stderr, c.want) || strings.Count(o.Stderr, "bpfctl: ") != 1 {
			t.Errorf("%v: %+v", c.args, o)
		}
	}
	if left := trees(cache); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

// noBTF hides the kernel's type information.
const noBTF = "d=$(mktemp -d)\nmount --bind $d /sys/kernel/btf"

// A file stands in for the type information that the target does not show.
func TestBTF(t *testing.T) {
	testenv.Need(t, "exitsnoop", "bpftool", "bpftrace")
	own, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skip("this kernel has no BTF")
	}
	file := filepath.Join(t.TempDir(), "vmlinux.btf")
	if err := os.WriteFile(file, own, 0o600); err != nil {
		t.Fatal(err)
	}
	without := target(t, noBTF)
	cache := t.TempDir()
	tool := []string{"--", "sh", "-c", "timeout -s INT 10 exitsnoop & sleep 5; (true); (true); wait"}
	if o := bpfctlRun(t, cache, append([]string{"run", "-t", without}, tool...)...); strings.Contains(o.Stdout, "PCOMM") {
		t.Errorf("there is BTF without --btf: %v", o)
	}
	if o := bpfctlRun(t, cache, append([]string{"run", "-t", without, "--btf", file}, tool...)...); !strings.Contains(o.Stdout, "PCOMM") || strings.Contains(o.Stderr, "bpfctl") {
		t.Errorf("with --btf: %v", o)
	}
	o := bpfctlRun(t, cache, "run", "-t", without, "--btf", file, "--", "sh", "-c",
		"ls /sys/kernel/btf; cmp "+file+" /sys/kernel/btf/vmlinux; id=$(bpftool btf list | tail -n 1 | cut -d: -f1); echo $id; bpftool btf dump id $id | grep -c \"STRUCT 'task_struct'\"")
	if o.Stdout != "vmlinux\n2147483647\n1\n" || o.Status != 0 {
		t.Errorf("%v", o)
	}
	o = bpfctlRun(t, cache, "run", "-t", without, "--btf", file, "--", "bpftrace", "-e", `BEGIN { printf("pid %d\n", ((struct task_struct *)curtask)->pid > 0); exit(); }`)
	if o.Status != 0 || !strings.Contains(o.Stdout, "pid 1\n") {
		t.Errorf("bpftrace: %v", o)
	}
	o = bpfctlRun(t, cache, "run", "-t", "shell:"+bpfd, "--btf", file, "--", "true")
	if o.Status != 0 || !strings.Contains(o.Stderr, "type information of its own") {
		t.Errorf("a target with BTF: %v", o)
	}
}

// What is no type information of the target's kernel is refused.
func TestBadBTF(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	own, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skip("this kernel has no BTF")
	}
	if err := os.WriteFile(short, own[:len(own)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{short: "is truncated", "/etc/passwd": "holds no BTF", "/bin/true": "has no section .BTF", "/nonexistent": "no such file"} {
		o := bpfctlRun(t, t.TempDir(), "run", "-t", "shell:"+bpfd, "--btf", file, "--", "true")
		if o.Status != 125 || !strings.Contains(o.Stderr, want) || strings.Count(o.Stderr, "\n") != 1 {
			t.Errorf("%s: %+v", file, o)
		}
	}
}
