package symbols

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

const kallsyms = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 t hidden
ffffffff81000100 t local_one
ffffffff81000100 T global_one
ffffffff81000200 t next
ffffffff82000000 D some_data
ffffffffc0000000 t mod_init	[some_module]
ffffffffc0000080 t $x	[some_module]
`

func TestParseKallsyms(t *testing.T) {
	k := kernel{text: []byte(kallsyms), functions: parseKallsyms([]byte(kallsyms))}
	for addr, want := range map[uint64]Symbol{
		0xffffffff81000000: {"_stext", 0, "kernel"},
		0xffffffff81000105: {"global_one", 5, "kernel"},
		0xffffffff81000200: {"next", 0, "kernel"},
		0xffffffffc0000088: {"mod_init", 0x88, "some_module"},
	} {
		if got, ok := k.at(addr); !ok || got != want {
			t.Errorf("%#x: %v, want %v", addr, got, want)
		}
	}
	if s, ok := k.at(0x1000); ok {
		t.Errorf("a user's address is %v", s)
	}
	for name, want := range map[string]uint64{"local_one": 0xffffffff81000100, "some_data": 0xffffffff82000000, "mod_init": 0xffffffffc0000000} {
		if got, ok := k.address(name); !ok || got != want {
			t.Errorf("%s: %#x", name, got)
		}
	}
	for _, name := range []string{"local", "one", "", "T", "none"} {
		if got, ok := k.address(name); ok {
			t.Errorf("%q: %#x", name, got)
		}
	}
}

// TestKernel: there and back again.
func TestKernel(t *testing.T) {
	var table Table
	addr, err := table.KernelAddress("vfs_read")
	if err != nil {
		t.Skipf("this kernel's symbols are not to be had: %v", err)
	}
	s, err := table.Kernel(addr + 1)
	if err != nil || s != (Symbol{"vfs_read", 1, "kernel"}) {
		t.Errorf("%#x is %v, %v", addr+1, s, err)
	}
	if _, err := table.KernelAddress("no_such_symbol"); err == nil {
		t.Error("no_such_symbol is there")
	}
}

const library = `
namespace shapes { struct circle { virtual int area(int r, const char *unit); }; int circle::area(int r, const char *) { return 3 * r * r; } }
extern "C" int in_library(int x) { shapes::circle c; return c.area(x, ""); }
`

const program = `
#include <cstdio>
extern "C" int in_library(int);
extern "C" __attribute__((noinline)) int in_program(int x) { return in_library(x) + 1; }
int main() {
	printf("%p %p\n", (void *)in_program, (void *)in_library);
	fflush(stdout);
	getchar();
	return in_program(1);
}
`

// build makes a library and a program that waits, and returns where they are.
func build(t *testing.T, flags ...string) (dir, path string) {
	t.Helper()
	testenv.Need(t, "g++")
	dir = t.TempDir()
	lib, path := filepath.Join(dir, "libshapes.so"), filepath.Join(dir, "program")
	compile(t, library, "-shared", "-fPIC", "-o", lib)
	compile(t, program, append(flags, "-o", path, "-L"+dir, "-lshapes", "-Wl,-rpath,$ORIGIN")...)
	return dir, path
}

func compile(t *testing.T, source string, flags ...string) {
	t.Helper()
	cmd := exec.Command("g++", append([]string{"-O1", "-x", "c++", "-"}, flags...)...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// start runs a program and returns its process and the addresses that it prints.
func start(t *testing.T, cmd *exec.Cmd) (pid int, addresses []uint64, end func()) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(line) {
		v, err := strconv.ParseUint(strings.TrimPrefix(f, "0x"), 16, 64)
		if err == nil {
			addresses = append(addresses, v)
		}
	}
	return cmd.Process.Pid, addresses, end
}

// check finds the program's and the library's function, by address and by name.
func check(t *testing.T, table *Table, pid int, addresses []uint64) {
	t.Helper()
	for i, want := range []Symbol{{"in_program", 2, "program"}, {"in_library", 2, "libshapes.so"}} {
		got, err := table.User(pid, addresses[i]+2, true)
		got.Module = filepath.Base(got.Module)
		if err != nil || got != want {
			t.Errorf("%#x is %v, %v; want %v", addresses[i]+2, got, err, want)
		}
		addr, err := table.UserAddress(pid, want.Name, want.Module)
		if err != nil || addr != addresses[i] {
			t.Errorf("%s is at %#x, %v; want %#x", want.Name, addr, err, addresses[i])
		}
	}
}

// TestUser: position-independent or not, stripped or not, in another mount
// namespace, and when the file is gone.
func TestUser(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		run   func(dir, path string) *exec.Cmd
	}{
		{"fixed", []string{"-no-pie"}, func(_, path string) *exec.Cmd { return exec.Command(path) }},
		{"stripped", []string{"-pie", "-s", "-rdynamic"}, func(_, path string) *exec.Cmd { return exec.Command(path) }},
		{"namespace", []string{"-pie"}, func(dir, path string) *exec.Cmd {
			// The files are where nobody else sees them.
			script := `mount --make-rprivate / && mount -t tmpfs none /mnt && cp "$1"/* /mnt && exec /mnt/program`
			cmd := exec.Command("sh", "-c", script, "sh", dir)
			cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			return cmd
		}},
		{"deleted", []string{"-pie"}, func(dir, path string) *exec.Cmd {
			return exec.Command(path)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "namespace" && os.Geteuid() != 0 {
				t.Skip("mount namespaces need root here")
			}
			dir, path := build(t, c.flags...)
			var table Table
			pid, addresses, end := start(t, c.run(dir, path))
			if c.name == "deleted" {
				os.RemoveAll(dir)
			}
			check(t, &table, pid, addresses)
			check(t, &table, pid, addresses) // from what is known
			addr, err := table.UserAddress(pid, "_ZN6shapes6circle4areaEiPKc", "libshapes.so")
			if err != nil {
				t.Fatal(err)
			}
			for demangle, want := range map[bool]string{true: "shapes::circle::area(int, char const*)", false: "_ZN6shapes6circle4areaEiPKc"} {
				if s, err := table.User(pid, addr, demangle); err != nil || s.Name != want {
					t.Errorf("%v, %v; want %s", s, err, want)
				}
			}
			if len(table.files) < 2 {
				t.Errorf("%d files are known", len(table.files))
			}
			for _, wrong := range []uint64{0, 1 << 46, addresses[0]&^0xfff - 1<<30} {
				if s, err := table.User(pid, wrong, true); err == nil {
					t.Errorf("%#x is %v", wrong, s)
				}
			}
			if _, err := table.UserAddress(pid, "none", "program"); err == nil {
				t.Error("the program has a function none")
			}
			if _, err := table.UserAddress(pid, "in_program", "other"); err == nil {
				t.Error("the program maps other")
			}
			// A process that has ended is remembered, but not known anew.
			end()
			check(t, &table, pid, addresses)
			if _, err := new(Table).User(pid, addresses[0], true); err == nil {
				t.Error("a process is known that has ended before")
			}
		})
	}
}

// TestVDSO: the file that is in memory only.
func TestVDSO(t *testing.T) {
	maps, _ := os.ReadFile("/proc/self/maps")
	for _, m := range parseMaps(string(maps)) {
		if m.path != "[vdso]" {
			continue
		}
		var table Table
		for _, name := range []string{"__vdso_clock_gettime", "__kernel_clock_gettime"} {
			if addr, err := table.UserAddress(os.Getpid(), name, "[vdso]"); err == nil {
				if s, err := table.User(os.Getpid(), addr, false); err != nil || !strings.HasSuffix(s.Name, "clock_gettime") {
					t.Errorf("%#x: %v, %v", addr, s, err)
				}
				return
			}
		}
		t.Error("the vDSO has no clock_gettime")
		return
	}
	t.Skip("this process has no vDSO")
}

// TestAgainstELF compares with debug/elf, over the C library's functions.
func TestAgainstELF(t *testing.T) {
	libs, _ := filepath.Glob("/lib/*/libc.so.6")
	if len(libs) == 0 {
		t.Skip("this machine has no C library")
	}
	b, err := os.ReadFile(libs[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	want, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := want.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range symbols {
		if kind := elf.ST_TYPE(s.Info); kind != elf.STT_FUNC && kind != elf.STT_GNU_IFUNC || s.Section == elf.SHN_UNDEF || s.Size < 2 {
			continue
		}
		n++
		at, ok := f.at(s.Value + 1)
		if !ok || at.addr != s.Value {
			t.Errorf("%s at %#x: %q at %#x", s.Name, s.Value, f.name(at), at.addr)
		}
	}
	if n < 500 {
		t.Errorf("%d functions", n)
	}
	id, _ := exec.Command("readelf", "-n", libs[0]).Output()
	if len(id) > 0 && !strings.Contains(string(id), "Build ID: "+f.buildID) {
		t.Errorf("build-id %s, readelf says\n%s", f.buildID, id)
	}
}

// FuzzParse: a file of whatever bytes gives an error or symbols.
func FuzzParse(f *testing.F) {
	if b, err := os.ReadFile("/proc/self/exe"); err == nil {
		f.Add(b[:headerSize])
	}
	f.Add([]byte(fmt.Sprintf("\x7fELF\x02\x01%0100d", 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(bytes.NewReader(b))
		if err != nil {
			return
		}
		file.at(0x1000)
		file.named("x")
		for _, s := range file.functions {
			file.name(s)
		}
	})
}
