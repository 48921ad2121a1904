package tracee

import (
	"os"
	"os/exec"
	"testing"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

func self() Thread { return Thread(unix.Gettid()) }

// What cannot be read at the second address leaves the first one's bytes.
func TestReadBoth(t *testing.T) {
	mem, err := unix.Mmap(-1, 0, 2*sys.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	copy(mem, "first")
	copy(mem[sys.PageSize-4:], "last")
	if err := unix.Mprotect(mem[sys.PageSize:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	begin := uint64(sys.Address(mem))
	end := begin + uint64(sys.PageSize)
	for _, c := range []struct {
		name         string
		addr, second uint64
		other        int
		both         bool
		err          error
	}{
		{"both", begin, end - 4, 4, true, nil},
		{"nothing asked for", begin, end - 4, 0, false, nil},
		{"no second", begin, 0, 4, false, nil},
		{"half of the second", begin, end - 4, 8, false, nil},
		{"no first", 0, begin, 4, false, unix.EFAULT},
		{"half of the first", end - 4, begin, 4, false, unix.EFAULT},
	} {
		p, other := make([]byte, 5), make([]byte, c.other)
		both, err := self().ReadBoth(c.addr, p, c.second, other)
		if both != c.both || err != c.err {
			t.Errorf("%s: %v, %v", c.name, both, err)
		}
		if err == nil && string(p) != "first" || both && string(other) != "last" {
			t.Errorf("%s: read %q and %q", c.name, p, other)
		}
	}
}

// A descriptor is looked up anew each time, of whichever thread it is, also
// when another one has got its number.
func TestDescriptors(t *testing.T) {
	var d Descriptors
	defer d.Close()
	files := []string{"/etc/hostname", "/etc/passwd", "/etc/group"}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	check := func(of Thread, fd int, path string) {
		t.Helper()
		want, err := Identify(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Lookup(of, fd); err != nil || got != want {
			t.Errorf("descriptor %d of %d is %v, %v; %s is %v", fd, of, got, err, path, want)
		}
	}
	for _, path := range append(files, files...) {
		g, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(g.Fd()), int(f.Fd()), unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		g.Close()
		check(self(), int(f.Fd()), path)
	}
	child := exec.Command("sleep", "60")
	child.Stdin = f
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	of := Thread(child.Process.Pid)
	for range 3 {
		check(of, 0, files[2])
	}
	check(self(), int(f.Fd()), files[2])
	check(of, 0, files[2])
	check(of, 0, files[2])
	if _, err := d.Lookup(of, 1000); err != unix.ENOENT {
		t.Errorf("a descriptor that is none: %v", err)
	}
	child.Process.Kill()
	child.Wait()
	if id, err := d.Lookup(of, 0); err == nil {
		t.Errorf("a descriptor of a process that is gone: %v", id)
	}
}
