package fidelity

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"bpfd/test/testenv"
)

// The links of a process's directory lead into the target's file system.
func TestMagicLinks(t *testing.T) {
	s := elsewhere(t)
	s.expect("only there\nonly there\nonly there\nthe same program\n", `
		cat /proc/$NAP/cwd/file /proc/$NAP/root$SCENE/mnt/file /proc/$NAP/fd/3
		cmp /bin/sleep /proc/$NAP/exe && echo the same program`)
	if _, err := os.Stat(s.dir + "/mnt/file"); err == nil {
		t.Error("the file is on the host as well")
	}
	// Of a process in a container they lead into that.
	s.expect("only inside\nonly inside\nonly inside\nthe same program\nnothing of the others\n", `
		cat /proc/$BOXED/root/inside /proc/$BOXED/cwd/inside /proc/$BOXED/fd/3
		cmp /bin/sleep /proc/$BOXED/exe && echo the same program
		[ -e /proc/$BOXED/root/etc ] || echo nothing of the others`)
}

// Programs compile what these say into BPF programs, or do without.
func TestPidNamespaceHidden(t *testing.T) {
	for _, name := range []string{"self/ns/pid", "thread-self/ns/pid", "self/ns/pid_for_children"} {
		o := elsewhere(t).run("stat", "-L", "/proc/"+name)
		if o.Status != 1 || !strings.Contains(o.Stderr, "No such file or directory") {
			t.Error(name, o)
		}
	}
	elsewhere(t).expect("net\n", "stat -L /proc/self/ns/net >/dev/null && echo net")
}

// Mounts and the types of file systems are the target's, not FUSE.
func TestFileSystems(t *testing.T) {
	s := elsewhere(t)
	s.expect("proc\nsysfs\nbpf_fs\ntracefs\ndebugfs\nproc\n", `
		stat -f -c %T /proc /sys /sys/fs/bpf /sys/kernel/tracing /sys/kernel/debug /proc/$NAP`)
	testenv.Need(t, "python3")
	o := s.run("python3", "-c", `
import ctypes, os
libc = ctypes.CDLL(None)
for path in "/sys/fs/bpf", "/sys/kernel/tracing/trace", "/proc/self/status", "/tmp":
    buf = (ctypes.c_long * 32)()
    libc.fstatfs(os.open(path, os.O_RDONLY), buf)
    print(hex(buf[0]))
`)
	if o.Status != 0 || !strings.HasPrefix(o.Stdout, "0xcafe4a11\n0x74726163\n0x9fa0\n") {
		t.Error(o)
	}
	for _, list := range []string{"/proc/mounts", "/proc/self/mounts", "/proc/self/mountinfo", "/proc/$$/mountinfo"} {
		out := s.script("cat " + list)
		if !strings.Contains(out, s.dir+"/mnt") || strings.Contains(out, "fuse.bpfd") {
			t.Errorf("%s is not the target's:\n%s", list, out)
		}
		for _, fs := range []string{" bpf ", " tracefs ", " debugfs ", " proc ", " sysfs "} {
			if !strings.Contains(out, fs) {
				t.Errorf("%s has no%sfile system:\n%s", list, fs, out)
			}
		}
	}
}

// libbpf and bpftool look at the type of the file system before they pin.
func TestPin(t *testing.T) {
	testenv.Need(t, "bpftool")
	pin := fmt.Sprintf("/sys/fs/bpf/fidelity-%d", os.Getpid())
	elsewhere(t).expect("here\n", `
		bpftool map create `+pin+` type array key 4 value 4 entries 1 name fidelity
		test -e `+pin+` && echo here
		rm `+pin)
	if _, err := os.Stat(pin); err == nil {
		t.Error("the pin was not removed")
	}
}

const createMap = `
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
attr = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 3) + bytes(56))
fd = libc.syscall(321, 0, attr, 72)
`

// What a descriptor is, is learnt from its link and its fdinfo.
func TestDescriptorKinds(t *testing.T) {
	testenv.Need(t, "python3", "bpftool")
	native := testenv.Run(t, "python3", "-c", createMap+`print(os.readlink(f"/proc/self/fd/{fd}"))`)
	if native.Status != 0 {
		t.Skip("this machine's bpf(2) has another number:", native)
	}
	s := elsewhere(t)
	o := s.run("python3", "-c", createMap+`
print(os.readlink(f"/proc/self/fd/{fd}"))
print(os.readlink(f"/proc/{os.getpid()}/fd/{fd}"))
info = open(f"/proc/self/fdinfo/{fd}").read()
print([l.split() for l in info.splitlines() if l.split()[0] in ("map_type:", "value_size:", "max_entries:")])
`)
	want := strings.Repeat(native.Stdout, 2) + "[['map_type:', '2'], ['value_size:', '8'], ['max_entries:', '3']]\n"
	if o.Status != 0 || o.Stdout != want {
		t.Errorf("%v; wanted %q", o, want)
	}
}

// Of the host's kernel there is no sign: kern_version is the target's if that
// is one that looks at it.
func TestKernelVersion(t *testing.T) {
	testenv.Need(t, "python3", "setarch")
	s := elsewhere(t)
	s.env = append(s.env, "PERSONALITY=setarch "+architecture(t)+" --uname-2.6")
	trace := s.dir + "/trace"
	load := createMap + `
insns = ctypes.create_string_buffer(bytes.fromhex("b700000000000000" "9500000000000000"))
gpl = ctypes.create_string_buffer(b"GPL")
attr = ctypes.create_string_buffer(struct.pack("IIQQIIQI", 2, 2, ctypes.addressof(insns), ctypes.addressof(gpl), 0, 0, 0, 0xabcdef) + bytes(68))
libc.syscall(321, 5, attr, 112)
print(os.uname().release)
`
	o := testenv.RunEnv(t, s.env, bpfctl, "run", "--trace", trace, "-t", machine, "--", "python3", "-c", load)
	if o.Status != 0 || !strings.HasPrefix(o.Stdout, "2.6.") {
		t.Fatal(o)
	}
	var a, b, c int
	fmt.Sscanf(o.Stdout, "%d.%d.%d", &a, &b, &c)
	calls, err := os.ReadFile(trace)
	if want := fmt.Sprintf("kern_version=%d", a<<16|b<<8|c); err != nil || !strings.Contains(string(calls), want) {
		t.Errorf("no %s in %s", want, calls)
	}
	if o := s.run("cat", "/proc/version_signature"); o.Status != 1 || !strings.Contains(o.Stderr, "No such file") {
		t.Error(o)
	}
}

func architecture(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("uname", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// bcc takes a missing list for the end of the world.
func TestKprobeBlacklist(t *testing.T) {
	const list = "/sys/kernel/debug/kprobes/blacklist"
	native, _ := os.ReadFile(list) // empty where the kernel has no kprobes
	elsewhere(t).expect(string(native), "cat "+list)
}

// The inode numbers of cgroups' directories are what the kernel calls them.
func TestCgroupIdentity(t *testing.T) {
	testenv.Need(t, "bpftrace")
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var dir string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			dir = fmt.Sprintf("%s/fidelity-%d", f[1], os.Getpid())
		}
	}
	if dir == "" {
		t.Skip("this machine has no cgroup2 file system")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	s := elsewhere(t)
	s.expect(fmt.Sprintln(st.Ino), "stat -c %i "+dir)
	o := s.run("bpftrace", "-e", `BEGIN { printf("id %d\n", cgroupid("`+dir+`")); exit(); }`)
	if o.Status != 0 || !strings.Contains(o.Stdout, fmt.Sprintf("id %d\n", st.Ino)) {
		t.Error(o, st.Ino)
	}
}

// bcc unpacks kernel headers into TMPDIR under the release's name only.
func TestTempDirPerKernel(t *testing.T) {
	t.Setenv("TMPDIR", "")
	os.Unsetenv("TMPDIR")
	s := elsewhere(t)
	one := s.script(`echo "$TMPDIR"; stat -c "%a %F" "$TMPDIR"`)
	s.env = append(s.env, "PERSONALITY=setarch "+architecture(t)+" --uname-2.6")
	other := s.script(`echo "$TMPDIR"; stat -c "%a %F" "$TMPDIR"`)
	if !strings.HasSuffix(one, "\n700 directory\n") || one == other {
		t.Errorf("TMPDIR is %q and, for another kernel, %q", one, other)
	}
	s.env = append(s.env, "TMPDIR="+s.dir)
	s.expect(s.dir+"\n", `echo "$TMPDIR"`)
}

func TestProcessors(t *testing.T) {
	elsewhere(t).expect("0-2\n3\n", "cat /sys/devices/system/cpu/possible; getconf _NPROCESSORS_CONF")
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere(t).expect(string(online), "cat /sys/devices/system/cpu/online")
}

// The links to the namespaces of the target's processes have the target's text
// and can be followed, but for that of the pid namespace.
func TestNamespaceLinks(t *testing.T) {
	script := "for n in net mnt uts ipc cgroup; do readlink /proc/1/ns/$n; echo \"$n:[$(stat -L -c %i /proc/1/ns/$n)]\"; done; readlink /proc/1/ns/pid"
	native := testenv.Run(t, "sh", "-c", script)
	if got := testenv.RunRemote(t, "shell:", "sh", "-c", script); got != native {
		t.Errorf("natively %v, remotely %v", native, got)
	}
}

// What tracefs refuses is refused with the target's errno.
func TestTracefsErrors(t *testing.T) {
	script := `import errno, os
def attempt(path, text):
    try:
        fd = os.open("/sys/kernel/tracing/" + path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, text)
        os.close(fd)
        print(path, "ok")
    except OSError as e:
        print(path, errno.errorcode[e.errno])
attempt("uprobe_events", b"nonsense\n")
attempt("uprobe_events", b"p:bpfd_x/y /nonexistent:0x10\n")
attempt("uprobe_events", b"-:bpfd_none/there\n")
attempt("events/sched/sched_switch/filter", b"no_such_field == 1\n")
attempt("events/sched/sched_switch/id", b"1\n")
attempt("events/no/such", b"1\n")
attempt("current_tracer", b"no_such_tracer\n")
try:
    os.mkdir("/sys/kernel/tracing/events/bpfd")
except OSError as e:
    print("mkdir", errno.errorcode[e.errno])
`
	native := testenv.Run(t, "/usr/bin/python3", "-c", script)
	if native.Status != 0 || strings.Count(native.Stdout, " E") < 6 {
		t.Fatalf("natively %v", native)
	}
	if got := testenv.RunRemote(t, "shell:", "/usr/bin/python3", "-c", script); got != native {
		t.Errorf("natively %v, remotely %v", native, got)
	}
}
