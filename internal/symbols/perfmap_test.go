package symbols

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// writeMap replaces the file in which this process tells what it has compiled.
func writeMap(t *testing.T, text string) string {
	t.Helper()
	path := fmt.Sprintf("/tmp/perf-%d.map", os.Getpid())
	os.Remove(path)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	return path
}

func appendMap(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// jit is where nothing is mapped.
const jit = 0x1000

// seek compares the functions at some addresses with "name+offset", "" for none.
func seek(t *testing.T, table *Table, pid int, want map[uint64]string) {
	t.Helper()
	for addr, name := range want {
		s, err := table.User(pid, addr, false)
		got := fmt.Sprintf("%s+%d", s.Name, s.Offset)
		if err != nil {
			got = ""
		}
		if got != name {
			t.Errorf("at %#x is %q, %v; want %q", addr, got, err, name)
		}
	}
}

// TestPerfMap: names with blanks, numbers as various writers have them, memory
// that is used again, a file that grows, is written anew, and goes away.
func TestPerfMap(t *testing.T) {
	var table Table
	pid := os.Getpid()
	seek(t, &table, pid, map[uint64]string{jit: ""})
	path := writeMap(t, "1000 20 LazyCompile:~add /srv/a.js:1\n0x1020 0X10 second\r\nno line\n1040 10 Old.method\nzz 1 bad\n1040 4\n1050 10 half")
	seek(t, &table, pid, map[uint64]string{
		jit: "LazyCompile:~add /srv/a.js:1+0", jit + 0x1f: "LazyCompile:~add /srv/a.js:1+31", jit + 0x2f: "second+15",
		jit + 0x30: "", jit + 0x44: "Old.method+4", jit + 0x50: "", jit - 1: ""})
	if s, _ := table.User(pid, jit, true); s.Module != path {
		t.Errorf("the module is %s", s.Module)
	}
	for _, module := range []string{path, filepath.Base(path)} {
		if addr, err := table.UserAddress(pid, "second", module); err != nil || addr != jit+0x20 {
			t.Errorf("second is at %#x, %v", addr, err)
		}
	}
	if addr, err := table.UserAddress(pid, "none", path); err == nil {
		t.Errorf("none is at %#x", addr)
	}

	before := table.processes[pid].compiled
	appendMap(t, path, "way there\n1042 10 New.method\n")
	seek(t, &table, pid, map[uint64]string{jit + 0x50: "New.method+14"})
	table.user(pid, jit, true)
	seek(t, &table, pid, map[uint64]string{jit + 0x50: "New.method+14", jit + 0x41: "Old.method+1", jit + 0x42: "New.method+0", jit + 0x58: "halfway there+8"})
	if table.processes[pid].compiled != before {
		t.Error("all was read again because of what was appended")
	}

	if err := os.WriteFile(path, []byte("1000 20 another\n"+strings.Repeat("2000 1 filler\n", 100)), 0); err != nil { // the same file
		t.Fatal(err)
	}
	table.user(pid, 1, true)
	seek(t, &table, pid, map[uint64]string{jit: "another+0", jit + 0x44: ""})
	os.Remove(path)
	table.user(pid, 1, true)
	seek(t, &table, pid, map[uint64]string{jit: ""})
}

// TestPerfMapOfOthers: what somebody else says of a process does not count, and
// what is no file keeps nobody.
func TestPerfMapOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another owner takes root")
	}
	path := writeMap(t, "1000 20 function\n")
	seek(t, new(Table), os.Getpid(), map[uint64]string{jit: "function+0"})
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	seek(t, new(Table), os.Getpid(), map[uint64]string{jit: ""})
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("1000 20 function\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, make := range map[string]func() error{
		"a link": func() error { return os.Symlink(other, path) }, "a FIFO": func() error { return unix.Mkfifo(path, 0o600) },
		"a directory": func() error { return os.Mkdir(path, 0o700) },
	} {
		os.Remove(path)
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if s, err := new(Table).User(os.Getpid(), jit, false); err == nil {
			t.Errorf("%s tells of %v", kind, s)
		}
	}
}

// TestPerfMapOfNamespace: a process has its own number and its own /tmp. One
// that has ended is remembered.
func TestPerfMapOfNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root here")
	}
	const script = `mount --make-rprivate / && mount -t tmpfs none /tmp && echo "1000 20 inner" >/tmp/perf-$$.map && echo $$ && read end`
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	pid, inner, end := start(t, cmd)
	if len(inner) != 1 || inner[0] != 1 {
		t.Fatalf("the process's own number is %d", inner)
	}
	var table Table
	seek(t, &table, pid, map[uint64]string{jit + 1: "inner+1"})
	if s, _ := table.User(pid, jit, true); s.Module != "/tmp/perf-1.map" {
		t.Errorf("the module is %s", s.Module)
	}
	end()
	seek(t, &table, pid, map[uint64]string{jit + 1: "inner+1"})
}
