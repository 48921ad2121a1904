package kernel

import (
	"bytes"
	"encoding/hex"
	"testing"

	"bpfd/internal/wire"
)

// target answers as a target whose files are in the map.
type target struct {
	files map[string][]byte
	open  map[wire.Handle]string
	next  wire.Handle
	reads int
}

func (f *target) NewHandle() wire.Handle { f.next++; return f.next }

func (f *target) Post(wire.Type, wire.Message) error { return nil }

func (f *target) Do(t wire.Type, req wire.Message, reply wire.Body) error {
	const enoent = 2
	switch r := req.(type) {
	case *wire.Path:
		b, ok := f.files[r.Path]
		if !ok {
			return reply.Decode((&wire.StatReply{Errno: enoent}).Append(nil))
		}
		return reply.Decode((&wire.StatReply{Attr: wire.Attr{Size: uint64(len(b))}}).Append(nil))
	case *wire.Open:
		b, ok := f.files[r.Path]
		if !ok {
			return reply.Decode((&wire.OpenReply{Errno: enoent}).Append(nil))
		}
		f.open[r.Result] = r.Path
		if int(r.Snapshot) > len(b) {
			return reply.Decode((&wire.OpenReply{EOF: true, Bytes: b}).Append(nil))
		}
		return reply.Decode((&wire.OpenReply{}).Append(nil))
	case *wire.Read:
		b := f.files[f.open[r.Handle]]
		f.reads++
		b = b[min(int(r.Off), len(b)):]
		return reply.Decode((&wire.BytesReply{Bytes: b[:min(len(b), 1000)]}).Append(nil))
	}
	return nil
}

// A build-id behind another note, as arm64 kernels have it.
const notes = "06000000" + "01000000" + "00010000" + "4c696e7578000000" + "00000000" +
	"04000000" + "04000000" + "03000000" + "474e5500" + "deadbeef"

func newTarget(t *testing.T) *target {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	b, err := hex.DecodeString(notes)
	if err != nil {
		t.Fatal(err)
	}
	return &target{
		files: map[string][]byte{"/sys/kernel/notes": b, BTFPath: bytes.Repeat([]byte("types "), 1000)},
		open:  make(map[wire.Handle]string),
	}
}

func TestBTFIsFetchedOnce(t *testing.T) {
	f := newTarget(t)
	if id := New(f).BuildID(); id != "deadbeef" {
		t.Errorf("build-id %q", id)
	}
	for range 2 {
		if b := New(f).BTF(); !bytes.Equal(b, f.files[BTFPath]) {
			t.Errorf("%d bytes", len(b))
		}
	}
	if f.reads != 7 {
		t.Errorf("%d reads, not 7: the second time it is in the cache", f.reads)
	}
	f.files[BTFPath] = f.files[BTFPath][:3000]
	if b := New(f).BTF(); len(b) != 3000 {
		t.Errorf("%d bytes of another file were taken from the cache", len(b))
	}
}

func TestNoBTF(t *testing.T) {
	f := newTarget(t)
	delete(f.files, BTFPath)
	if b := New(f).BTF(); b != nil {
		t.Errorf("%d bytes", len(b))
	}
}

func TestBrokenNotes(t *testing.T) {
	whole, _ := hex.DecodeString(notes)
	for n := range whole {
		if id := gnuBuildID(whole[:n]); id != nil {
			t.Errorf("%d of %d bytes: %x", n, len(whole), id)
		}
	}
	if id := gnuBuildID(bytes.Repeat([]byte{0xff}, 40)); id != nil {
		t.Errorf("%x", id)
	}
}
