package sys

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe is a pipe whose ends block or not.
func pipe(t *testing.T, flags int) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|flags); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// All bytes come through, whether the descriptors block or not, also those
// that come while the Reader spins, and then the end.
func TestStream(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 100_000) // far more than a pipe holds
	for name, flags := range map[string]int{"blocking": 0, "not blocking": unix.O_NONBLOCK} {
		t.Run(name, func(t *testing.T) {
			r, w := pipe(t, flags)
			written := make(chan error, 1)
			go func() {
				var err error
				for i := 0; i < len(want) && err == nil; i += 100_000 {
					err = WriteFull(w, want[i:i+100_000])
					time.Sleep(time.Millisecond)
				}
				// The end is that of the last copy: cleaning up closes an empty one.
				null, _ := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
				unix.Dup3(null, w, unix.O_CLOEXEC)
				unix.Close(null)
				written <- err
			}()
			got, err := io.ReadAll(NewReader(r))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

// A Reader that spins takes what a descriptor does not allow for no error.
func TestReaderFalls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := NewReader(int(f.Fd()))
	r.spin = true
	if n, err := r.Read(nil); n != 0 || err != nil {
		t.Errorf("nothing was read for: %d, %v", n, err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "abc" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := NewReader(1 << 30).Read(make([]byte, 1)); !errors.Is(err, unix.EBADF) {
		t.Errorf("a descriptor that is none: %v", err)
	}
}

// Who has gone is an error, and no signal that ends the program.
func TestWriteFullGone(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	unix.Close(p[1])
	if err := WriteFull(p[0], []byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("%v", err)
	}
}

// The other side of a socket sees the end although somebody else holds this one.
func TestCloseWrite(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	copied, err := unix.Dup(p[0])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	f := os.NewFile(uintptr(p[0]), "socket")
	if _, err := f.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	if err := CloseWrite(f); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(NewReader(p[1])); err != nil || string(b) != "last words" {
		t.Errorf("%q, %v", b, err)
	}
	if err := WriteFull(p[1], []byte("answer")); err != nil {
		t.Errorf("the other direction is closed too: %v", err)
	}
}

// Files of procfs say that they have no bytes, and have some.
func TestReadFile(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	want := bytes.Repeat([]byte{1, 2, 3, 0}, 50_000)
	if err := os.WriteFile(large, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(large); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d of %d bytes, %v", len(b), len(want), err)
	}
	if b, err := ReadFile("/proc/self/status"); err != nil || !bytes.Contains(b, []byte("CapEff:")) {
		t.Errorf("%q, %v", b, err)
	}
	for path, want := range map[string]error{large + "/none": unix.ENOTDIR, "/nonexistent": unix.ENOENT, "/": unix.EISDIR} {
		if b, err := ReadFile(path); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v; want %v", path, b, err, want)
		}
	}
}

// A socket that is connected no more has come to its end.
func TestReaderDisconnected(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, spin := range []bool{false, true} {
		r := NewReader(fd)
		r.spin = spin
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("spin=%v: %d, %v", spin, n, err)
		}
	}
}
