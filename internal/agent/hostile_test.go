package agent

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bpfd/internal/wire"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// fifo makes a pipe with a name, which has nothing to read and two ends.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Memory of files is no business of the protocol: what lies behind the end of
// one is a SIGBUS, which no Go program survives.
func TestMappedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 16
	h := connect(t, bytes.NewReader(frames(
		frame{wire.TypeMemory, 2, &wire.Memory{Handle: 1, Size: size, Words: []wire.Word{{Off: size - 8, New: 1}}}},
		frame{wire.TypeStream, 3, &wire.Stream{ID: 1, Kind: wire.StreamPerf, Handle: 1, Size: size}},
		frame{wire.TypeStream, 4, &wire.Stream{ID: 2, Kind: wire.StreamRingbuf, Handle: 1, Size: size}},
		frame{wire.TypeWriteRing, 5, &wire.WriteRing{Handle: 1, Size: size, Bytes: make([]byte, 16)}},
		frame{wire.TypeMemory, 6, &wire.Memory{Handle: 7, Size: size}},
	)))
	defer watch(t)()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	give(t, h.s, 1, int(file.Fd()))
	if err := h.s.loop(); err != nil {
		t.Error(err)
	}
	h.end()
	want := uint32(unix.ENODEV)
	var memory, none wire.MemoryReply
	var perf, ring wire.Status
	var written wire.WriteRingReply
	h.decode(t, 2, &memory)
	h.decode(t, 3, &perf)
	h.decode(t, 4, &ring)
	h.decode(t, 5, &written)
	h.decode(t, 6, &none)
	if memory.Errno != want || perf.Errno != want || ring.Errno != want || written.Errno != want {
		t.Errorf("errnos %d, %d, %d, %d, not %d", memory.Errno, perf.Errno, ring.Errno, written.Errno, want)
	}
	if none.Errno != uint32(unix.EBADF) {
		t.Errorf("memory of no descriptor: errno %d", none.Errno)
	}
}

// Sizes that are none, or not those of the map, are refused.
func TestSizes(t *testing.T) {
	hash := mapOf(t, ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 4})
	if err := hash.Put(uint32(1), uint64(2)); err != nil {
		t.Fatal(err)
	}
	ring := mapOf(t, ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 1 << 16})
	const walk, large, stream, huge, write = 1, 2, 3, 4, 5
	h := connect(t, bytes.NewReader(frames(
		// Without a key the walk would begin anew again and again.
		frame{wire.TypeWalk, walk, &wire.Walk{Map: 1, Max: 1<<32 - 1}},
		frame{wire.TypeWalk, large, &wire.Walk{Map: 1, KeySize: 4, ValueSize: 1<<32 - 1, Max: 1}},
		frame{wire.TypeStream, stream, &wire.Stream{ID: 1, Kind: wire.StreamRingbuf, Handle: 2, Size: 8}},
		frame{wire.TypeStream, huge, &wire.Stream{ID: 1, Kind: wire.StreamRingbuf, Handle: 2, Size: 1<<63 + 4096}},
		frame{wire.TypeWriteRing, write, &wire.WriteRing{Handle: 2, Size: 8, Bytes: make([]byte, 64)}},
	)))
	defer watch(t)()
	give(t, h.s, 1, hash.FD())
	give(t, h.s, 2, ring.FD())
	if err := h.s.loop(); err != nil {
		t.Error(err)
	}
	h.end()
	for id, want := range map[uint32]unix.Errno{walk: unix.EINVAL, large: unix.E2BIG, stream: unix.EINVAL, huge: unix.EINVAL, write: unix.EINVAL} {
		b, ok := h.reply(id)
		if !ok || len(b) < 4 || unix.Errno(b[0]) != want {
			t.Errorf("request %d: % x, not errno %d", id, b, want)
		}
	}
}

// A session ends with its input, whatever reads wait: also those which have
// one id, and more of them than may run at a time.
func TestManyReads(t *testing.T) {
	const handle = 1
	path := fifo(t)
	list := []frame{{wire.TypeOpen, 1, &wire.Open{Result: handle, Flags: wire.OpenRead | wire.OpenWrite, Path: path}}}
	in, w := io.Pipe()
	h := connect(t, in)
	stop := watch(t)
	ended := make(chan error)
	go func() { ended <- h.s.loop() }()
	w.Write(frames(list...))
	for ok := false; !ok; _, ok = h.reply(1) {
		time.Sleep(time.Millisecond)
	}
	for i := range slowCalls + 50 {
		id := uint32(10 + i)
		if i < 20 {
			id = 5
		}
		w.Write(frames(frame{wire.TypeRead, id, &wire.Read{Handle: handle, Off: wire.NoOffset, Len: 1}}))
	}
	// The session still hears of what is to be given up.
	w.Write(frames(frame{wire.TypeCancel, 5, wire.Empty{}}, frame{wire.TypeCancel, 200, wire.Empty{}}))
	for ok := false; !ok; _, ok = h.reply(200) {
		time.Sleep(time.Millisecond)
	}
	w.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	h.end()
	stop()
	if n := len(h.replies[5]); n != 20 {
		t.Errorf("%d of 20 reads with the same id were answered", n)
	}
	for i := 20; i < slowCalls+50; i++ {
		var r wire.BytesReply
		h.decode(t, uint32(10+i), &r)
		if r.Errno != uint32(unix.EINTR) {
			t.Fatalf("read %d: errno %d", i, r.Errno)
		}
	}
}

// A name that is given anew loses what hung on the descriptor before.
func TestNameTaken(t *testing.T) {
	array := func() *ebpf.Map {
		return mapOf(t, ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	}
	first, second := array(), array()
	if err := second.Put(uint32(0), uint64(42)); err != nil {
		t.Fatal(err)
	}
	s := connect(t, nil)
	defer s.end()
	give(t, s.s, 1, first.FD())
	s.s.syncMemory(&wire.Memory{Handle: 1, Size: 4096})
	give(t, s.s, 1, second.FD())
	r := s.s.syncMemory(&wire.Memory{Handle: 1, Size: 4096})
	if len(r.Runs) != 1 || r.Runs[0].Bytes[0] != 42 {
		t.Errorf("the memory is that of the descriptor before: %+v", r)
	}
}
