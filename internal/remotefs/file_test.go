package remotefs

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// target is one that has one file.
type target struct {
	content []byte
	opens   unix.Errno // the errno of an open
	reads   unix.Errno // and of a read beyond failFrom
	from    int64
	lost    bool // the connection is
	greedy  bool // a read returns more than was asked for

	handles wire.Handle
	open    map[wire.Handle][]byte
	asked   []wire.Read
	written [][]byte
	stream  int // reads that can be cancelled
}

func (r *target) NewHandle() wire.Handle { r.handles++; return r.handles }

func (r *target) Do(_ wire.Type, req wire.Message, reply wire.Body) error {
	if r.lost {
		return errors.New("lost")
	}
	switch req := req.(type) {
	case *wire.Open:
		r.opened(req, reply.(*wire.OpenReply))
	case *wire.Read:
		r.asked = append(r.asked, *req)
		content, ok := r.open[req.Handle]
		b := reply.(*wire.BytesReply)
		switch {
		case !ok:
			b.Errno = uint32(unix.EBADF)
		case r.reads != 0 && req.Off >= r.from:
			b.Errno = uint32(r.reads)
		default:
			n := int64(req.Len)
			if r.greedy {
				n += 100
			}
			off := min(max(req.Off, 0), int64(len(content)))
			b.Bytes = content[off:min(off+n, int64(len(content)))]
		}
	case *wire.Write:
		r.written = append(r.written, req.Bytes)
		reply.(*wire.WriteReply).Count = uint32(len(req.Bytes))
	}
	return nil
}

// opened does what the daemon does: a file that ends within the snapshot is not
// kept open.
func (r *target) opened(req *wire.Open, reply *wire.OpenReply) {
	if reply.Errno = uint32(r.opens); r.opens != 0 {
		return
	}
	n := min(int(req.Snapshot), len(r.content))
	reply.Bytes, reply.EOF = bytes.Clone(r.content[:n]), req.Snapshot > 0 && len(r.content) < int(req.Snapshot)
	if !reply.EOF {
		if r.open == nil {
			r.open = make(map[wire.Handle][]byte)
		}
		r.open[req.Result] = bytes.Clone(r.content)
	}
}

func (r *target) DoCancel(_ <-chan struct{}, t wire.Type, req wire.Message, reply wire.Body) error {
	r.stream++
	return r.Do(t, req, reply)
}

func (r *target) Post(_ wire.Type, req wire.Message) error {
	for _, h := range req.(*wire.Close).Handles {
		delete(r.open, h)
	}
	return nil
}

// noise is content of which no part is like another.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

// readFrom reads up to the end in pieces.
func readFrom(t *testing.T, f *file, off int64, piece int) []byte {
	t.Helper()
	var all []byte
	for {
		b, e := read(f, off+int64(len(all)), piece)
		if e != 0 {
			t.Fatal(e)
		}
		if len(b) == 0 {
			return all
		}
		all = append(all, b...)
	}
}

func read(f *file, off int64, n int) ([]byte, syscall.Errno) {
	dest := make([]byte, n)
	r, e := f.Read(context.Background(), dest, off)
	if e != 0 {
		return nil, e
	}
	b, _ := r.Bytes(dest)
	return b, 0
}

func open(t *testing.T, r *target, f *file) *file {
	t.Helper()
	f.fs = &FS{remote: r}
	flags := wire.OpenRead
	if f.writable {
		flags |= wire.OpenWrite
	}
	if e := f.open(flags); e != 0 {
		t.Fatal(e)
	}
	return f
}

// What is read is what is there, in pieces of any size; a large file takes few
// requests, and nothing stays open on the target.
func TestRead(t *testing.T) {
	for _, size := range []int{0, 1, 4096, snapshot - 1, snapshot, snapshot + 1, 3*snapshot + 5, 3 << 20} {
		for _, piece := range []int{1 << 10, 4096, 128 << 10} {
			for _, cached := range []bool{false, true} {
				r := &target{content: noise(size)}
				f := open(t, r, &file{cached: cached})
				if got := readFrom(t, f, 0, piece); !bytes.Equal(got, r.content) {
					t.Fatalf("%d bytes in pieces of %d: %d came, or others", size, piece, len(got))
				}
				if n := len(r.asked); piece <= 4096 && n > 12 {
					t.Errorf("%d bytes in pieces of %d took %d requests", size, piece, n)
				}
				f.Release(context.Background())
				if len(r.open) > 0 {
					t.Errorf("a file of %d bytes is left open", size)
				}
			}
		}
	}
}

// The kernel takes a short read of a cached file for its end.
func TestReadCachedFills(t *testing.T) {
	r := &target{content: noise(3 * snapshot)}
	f := open(t, r, &file{cached: true})
	if b, e := read(f, snapshot-100, 2*snapshot); e != 0 || !bytes.Equal(b, r.content[snapshot-100:3*snapshot-100]) {
		t.Errorf("%d bytes, %v", len(b), e)
	}
}

// A file is of the moment it was opened, and of another when it is read from
// its beginning again.
func TestReadAgain(t *testing.T) {
	r := &target{content: []byte("first")}
	f := open(t, r, &file{})
	r.content = []byte("second")
	for _, want := range []string{"first", "second", "second"} {
		if b, e := read(f, 0, 100); e != 0 || string(b) != want {
			t.Errorf("%q, %v; want %q", b, e, want)
		}
	}
	if b, e := read(f, 3, 100); e != 0 || string(b) != "ond" {
		t.Errorf("further on: %q, %v", b, e)
	}
	r.content = noise(2 * snapshot)
	if b := readFrom(t, f, 0, 4096); !bytes.Equal(b, r.content) {
		t.Errorf("it has grown: %d bytes", len(b))
	}
	r.content = []byte("short")
	if b := readFrom(t, f, 0, 4096); string(b) != "short" || len(r.open) > 0 {
		t.Errorf("it has shrunk: %q, %d are open", b, len(r.open))
	}
	r.opens = unix.EACCES
	if _, e := read(f, 0, 100); e != unix.EACCES {
		t.Errorf("it may not be read any more: %v", e)
	}
}

// What was read is given before what went wrong.
func TestReadFails(t *testing.T) {
	r := &target{content: noise(2 * snapshot), reads: unix.ENODEV, from: snapshot}
	f := open(t, r, &file{cached: true})
	if b, e := read(f, snapshot-10, 100); e != 0 || len(b) != 10 {
		t.Errorf("before the failure: %d bytes, %v", len(b), e)
	}
	if _, e := read(f, snapshot, 100); e != unix.ENODEV {
		t.Errorf("at the failure: %v", e)
	}
	r.lost = true
	if _, e := read(f, snapshot, 100); e != unix.EIO {
		t.Errorf("without a connection: %v", e)
	}
	if e := (&file{fs: &FS{remote: r}}).open(wire.OpenRead); e != unix.EIO {
		t.Errorf("opened without a connection: %v", e)
	}
}

// A target that sends more than it was asked for does not get it into the
// tool's buffer.
func TestReadGreedy(t *testing.T) {
	for name, f := range map[string]*file{"file": {}, "cached": {cached: true}, "stream": {stream: true}, "writable": {writable: true}} {
		r := &target{content: noise(3 * snapshot), greedy: true}
		open(t, r, f)
		for _, off := range []int64{0, snapshot, 2 * snapshot} {
			if b, e := read(f, off, 4096); e != 0 || len(b) > 4096 {
				t.Errorf("%s: %d bytes at %d, %v", name, len(b), off, e)
			}
		}
	}
}

// trace_pipe is read without positions, and its reads can be given up.
func TestReadStream(t *testing.T) {
	r := &target{content: []byte("events")}
	f := open(t, r, &file{stream: isStream("/sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw")})
	read(f, 0, 100)
	read(f, 6, 100)
	if r.stream != 2 || slices.ContainsFunc(r.asked, func(q wire.Read) bool { return q.Off != wire.NoOffset || q.Len != 100 }) {
		t.Errorf("%d of %+v", r.stream, r.asked)
	}
}

// A tool hears that it has written as much as it wrote, also where a path was
// replaced by one of another length.
func TestWrite(t *testing.T) {
	r := &target{}
	f := open(t, r, &file{path: "/sys/kernel/tracing/uprobe_events", writable: true})
	line := "p:g/e " + TargetRoot + "/bin/sh:0x10\n"
	if n, e := f.Write(context.Background(), []byte(line), 0); e != 0 || int(n) != len(line) {
		t.Errorf("%d of %d, %v", n, len(line), e)
	}
	if len(r.written) != 1 || string(r.written[0]) != "p:g/e /bin/sh:0x10\n" {
		t.Errorf("%q", r.written)
	}
	r.lost = true
	if _, e := f.Write(context.Background(), []byte(line), 0); e != unix.EIO {
		t.Errorf("without a connection: %v", e)
	}
}
