package fidelity

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

// Processes of the target are there, those of the host are not.
func TestOtherProcesses(t *testing.T) {
	testenv.Need(t, "python3")
	s := elsewhere(t)
	s.expect("elsewhere\nalive\ngone\nhost gone\n", fmt.Sprintf(`
		uname -n
		kill -0 $NAP && echo alive
		kill -0 3999999 2>/dev/null || echo gone
		kill -0 %d 2>/dev/null || echo host gone`, os.Getppid()))
	// The descriptor becomes readable when the process ends.
	s.expect("anon_inode:[pidfd]\n[]\nended\nESRCH\n", `exec python3 -c '
import errno, os, select
pid = int(os.environ["WAITER"])
fd = os.pidfd_open(pid)
print(os.readlink(f"/proc/self/fd/{fd}"))
p = select.poll()
p.register(fd, select.POLLIN)
print(p.poll(0))
os.mkdir(f"/proc/{pid}/cwd/go")
p.poll()
print("ended")
try: os.pidfd_open(3999999)
except OSError as e: print(errno.errorcode[e.errno])
'`)
}

// The memory of the target's processes is read and written where a tool says:
// that is how bcc switches USDT probes on.
func TestMemory(t *testing.T) {
	testenv.Need(t, "python3")
	elsewhere(t).expect("b'\\x01\\x02' here\n", `exec python3 -c '
import os
pid = os.environ["NAP"]
heap = [line for line in open(f"/proc/{pid}/maps") if "[heap]" in line][0]
place = int(heap.split()[0].split("-")[1], 16) - 64
fd = os.open(f"/proc/{pid}/mem", os.O_RDWR)
os.lseek(fd, place, os.SEEK_SET)
os.write(fd, bytes([1, 2]))
os.lseek(fd, place, os.SEEK_SET)
print(os.read(fd, 2), "here" if os.lseek(fd, 0, os.SEEK_CUR) == place + 2 else "elsewhere")
'`)
}

// A probe on the tool's own function never reaches the daemon's program. With
// bpftrace's BEGIN there is one more way: a test run on the target.
func TestOwnProbe(t *testing.T) {
	testenv.Need(t, "bpftrace")
	s := elsewhere(t)
	compile(t, "ownprobe.c", s.dir+"/ownprobe")
	if o := s.run(s.dir + "/ownprobe"); o.Status != 0 || o.Stdout != "3\n" {
		t.Error(o)
	}
	if o := s.run("bpftrace", "-e", `BEGIN { printf("begun\n"); exit(); } END { printf("ended\n"); }`); o.Status != 0 || !strings.Contains(o.Stdout, "begun\n") || !strings.Contains(o.Stdout, "ended\n") {
		t.Error(o)
	}
}

// An offset that was found in the host's file is put on the target's only if
// that is the same.
func TestUprobeFile(t *testing.T) {
	testenv.Need(t, "bpftrace")
	trace := func(s *scene, file string) testenv.Outcome {
		return s.run("bpftrace", "-e", fmt.Sprintf(`uprobe:%s:probed { @ = count(); } interval:ms:1 { printf("attached\n"); exit(); }`, file))
	}
	s := elsewhere(t)
	compile(t, "prog.c", s.dir+"/prog", "-Wl,--build-id")
	if o := trace(s, s.dir+"/prog"); o.Status != 0 || !strings.Contains(o.Stdout, "attached") || strings.Contains(o.Stderr, "uprobe") {
		t.Error("the same file:", o)
	}
	compile(t, "prog.c", s.dir+"/other", "-Wl,--build-id", "-DPADDING=3")
	o := trace(s, s.dir+"/prog")
	if strings.Contains(o.Stdout, "attached") || !strings.Contains(o.Stderr, "no uprobe on "+s.dir+"/prog") || !strings.Contains(o.Stderr, "build-id") {
		t.Error("another file:", o)
	}
	for _, file := range []string{"/proc/$NAP/root" + s.dir + "/prog", "/proc/$BOXED/root/prog"} {
		o = s.run("sh", "-c", prelude+`exec bpftrace -e "uprobe:`+file+`:padding { exit(); } interval:ms:1 { printf(\"attached\n\"); exit(); }"`)
		if o.Status != 0 || !strings.Contains(o.Stdout, "attached") {
			t.Errorf("the target's own file %s: %v", file, o)
		}
	}
}

// Clocks are read without a system call: they must be the target's themselves.
func TestClocks(t *testing.T) {
	testenv.Need(t, "python3")
	read := func() (m, b int64) {
		var mono, boot unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono)
		unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
		return mono.Sec, boot.Sec
	}
	mono0, boot0 := read()
	o := elsewhere(t).run("python3", "-c", `
import time
up = float(open("/proc/uptime").read().split()[0])
print(int(time.clock_gettime(time.CLOCK_MONOTONIC)), int(time.clock_gettime(time.CLOCK_BOOTTIME)), int(up))
`)
	mono1, boot1 := read()
	var mono, boot, up int64
	if n, _ := fmt.Sscan(o.Stdout, &mono, &boot, &up); n != 3 {
		t.Fatal(o)
	}
	// What it took to ask the target for its clocks is part of the difference.
	slack := mono1 - mono0 + 1
	for _, c := range []struct {
		name           string
		got, low, high int64
	}{
		{"CLOCK_MONOTONIC", mono, mono0 + 50000 - slack, mono1 + 50000},
		{"CLOCK_BOOTTIME", boot, boot0 + 100000 - slack, boot1 + 100000},
		{"/proc/uptime", up, boot0 + 100000 - slack, boot1 + 100000},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s is %d, not between %d and %d", c.name, c.got, c.low, c.high)
		}
	}
}

// A tool which excludes itself excludes its stand-in on the target, and sees
// itself in its own /proc.
func TestOwnPid(t *testing.T) {
	out := elsewhere(t).script(`
		echo $$
		cat /proc/$$/comm /proc/self/comm
		readlink /proc/self >/dev/null
		ls -d /proc/$$`)
	var pid int
	var comm, self, dir string
	fmt.Sscan(out, &pid, &comm, &self, &dir)
	if pid <= 4000 || comm != "sh" || self != "cat" || dir != fmt.Sprintf("/proc/%d", pid) {
		t.Errorf("%q", out)
	}
}

// What a tool starts runs here: bpfctl says so.
func TestLocalCommand(t *testing.T) {
	testenv.Need(t, "bpftrace")
	o := elsewhere(t).run("bpftrace", "-c", "/bin/true", "-e", "BEGIN { exit(); }")
	if !strings.Contains(o.Stderr, "bpfctl: warning: bpftrace -c runs its command on this machine") {
		t.Error(o)
	}
	if o := testenv.Run(t, bpfctl, "run", "--help"); !strings.Contains(o.Stdout, "-c CMD") {
		t.Error(o)
	}
}

func TestSymbolCache(t *testing.T) {
	const name = "BPFTRACE_CACHE_USER_SYMBOLS"
	s := elsewhere(t)
	s.expect("1\n", "echo $"+name)
	s.env = append(s.env, name+"=0")
	s.expect("0\n", "echo $"+name)
}
