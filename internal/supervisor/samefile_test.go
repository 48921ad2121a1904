package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

// compiled makes a program, with a build-id or without.
func compiled(t *testing.T, flags ...string) *os.File {
	t.Helper()
	testenv.Need(t, "gcc")
	dir := t.TempDir()
	source, out := filepath.Join(dir, "x.c"), filepath.Join(dir, "x")
	if err := os.WriteFile(source, []byte("int main(void) { return VALUE; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("gcc", append(flags, "-o", out, source)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// broken reads as much as it is long, and then fails.
type broken int64

func (n broken) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) <= int64(n) {
		return len(b), nil
	}
	return 0, errors.New("the link is gone")
}

// A probe goes to a file that is the same there, by its build-id or by its bytes.
func TestDifferent(t *testing.T) {
	one, two := compiled(t, "-DVALUE=1", "-Wl,--build-id"), compiled(t, "-DVALUE=2", "-Wl,--build-id")
	stripped := compiled(t, "-DVALUE=1", "-Wl,--build-id", "-s") // other bytes, and the same id or another
	bare, other := compiled(t, "-DVALUE=1", "-Wl,--build-id=none"), compiled(t, "-DVALUE=2", "-Wl,--build-id=none")
	large := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	changed := bytes.Clone(large)
	changed[len(changed)-1]++
	for _, c := range []struct {
		name        string
		here, there io.ReaderAt
		want        string // what is said; "" if they are the same
	}{
		{"the same", one, one, ""},
		{"another program", one, two, "another one (build-id "},
		{"one without a build-id", one, bare, "there)"},
		{"neither has one", bare, bare, ""},
		{"neither has one, other bytes", bare, other, "the target's file is another one"},
		{"no programs", bytes.NewReader(large), bytes.NewReader(large), ""},
		{"the last byte", bytes.NewReader(large), bytes.NewReader(changed), "another one"},
		{"shorter there", bytes.NewReader(large), bytes.NewReader(large[:len(large)-1]), "another one"},
		{"shorter here", bytes.NewReader(large[:256<<10]), bytes.NewReader(large), "another one"},
		{"a piece long", bytes.NewReader(large[:256<<10]), bytes.NewReader(large[:256<<10]), ""},
		{"nothing", bytes.NewReader(nil), bytes.NewReader(nil), ""},
		{"a link that breaks", broken(1 << 20), broken(1 << 20), "another one"},
	} {
		if got := different(c.here, c.there); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if a, b := buildID(one), buildID(stripped); a == "" || b == "" {
		t.Errorf("build-ids %q and %q", a, b)
	}
}

// Notes that say they are longer than they are, or that the target made up, are
// no build-ids.
func TestBadNotes(t *testing.T) {
	f := compiled(t, "-DVALUE=1", "-Wl,--build-id")
	whole, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, []byte("GNU\x00"+buildIDBytes(t, f)))
	if at < 12 {
		t.Fatal("the note was not found")
	}
	for _, field := range []int{at - 12, at - 8} { // sizes of name and content
		for _, v := range []uint32{0, 1, 3, 5, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<32 - 3, 1<<32 - 4} {
			b := bytes.Clone(whole)
			binary.LittleEndian.PutUint32(b[field:], v)
			if id := buildID(bytes.NewReader(b)); id == buildID(f) {
				t.Errorf("a size of %d is taken for the right one", v)
			}
		}
	}
	for n := range min(len(whole), 2000) { // whatever is cut off is no crash
		buildID(bytes.NewReader(whole[:n]))
	}
}

// buildIDBytes is the build-id as it stands in the file.
func buildIDBytes(t *testing.T, f io.ReaderAt) string {
	t.Helper()
	var b []byte
	for id := buildID(f); len(id) > 1; id = id[2:] {
		b = append(b, byte(strings.IndexByte("0123456789abcdef", id[0])<<4|strings.IndexByte("0123456789abcdef", id[1])))
	}
	return string(b)
}
