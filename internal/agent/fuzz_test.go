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

// FuzzSession: whatever frames come, a session answers each request once until
// one of them is malformed, ends with its input, and leaves nothing open. The
// first bytes are frames, the others make requests which can be decoded. Both
// are changed where they would reach beyond the test: see tame.
func FuzzSession(f *testing.F) {
	for i, seed := range seeds() {
		f.Add(seed, []byte{})
		f.Add(seed, bytes.Repeat([]byte{byte(i), 3, 0, 1, 2, 7}, 20))
	}
	harmless(f)
	given := objects(f)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, begin, rest []byte) {
		furnish(t, dir)
		defer empty(t, dir)
		in, asked := tame(append(begin, requestsOf(rest)...), dir)
		before := descriptors(t)
		h := connect(t, in)
		in.h = h
		defer watch(t)()
		for i, fd := range given {
			give(t, h.s, wire.Handle(i+1), fd)
		}
		h.s.loop() // its error is about the first malformed frame
		h.end()
		if h.err != nil {
			t.Errorf("the session sends a malformed frame: %v", h.err)
		}
		for id, n := range asked {
			if got := len(h.replies[id]); got != n {
				t.Errorf("request %d was sent %d times and answered %d times", id, n, got)
			}
		}
		if after := descriptors(t); after != before {
			t.Errorf("there were %d descriptors before, and %d after", before, after)
		}
	})
}

// harmless has calls make others which do nothing, but one: perf_event_open
// makes a descriptor of another kind.
func harmless(f *testing.F) {
	kept := numbers
	f.Cleanup(func() { numbers = kept })
	for i := range numbers {
		numbers[i] = unix.SYS_GETPID
	}
	numbers[wire.SysPerfEventOpen] = unix.SYS_EPOLL_CREATE1
}

// objects are descriptors of the kernel's own memory, as many as this user may
// make: the handles from 1 on.
func objects(f *testing.F) []int {
	var fds []int
	for _, spec := range []ebpf.MapSpec{
		{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1000, Flags: unix.BPF_F_MMAPABLE},
		{Type: ebpf.RingBuf, MaxEntries: 1 << 16},
		{Type: unix.BPF_MAP_TYPE_USER_RINGBUF, MaxEntries: 1 << 16},
	} {
		m, err := ebpf.NewMap(&spec)
		if err != nil {
			f.Logf("without a map of type %v: %v", spec.Type, err)
			continue
		}
		f.Cleanup(func() { m.Close() })
		fds = append(fds, m.FD())
	}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: unix.PERF_ATTR_SIZE_VER5, Config: unix.PERF_COUNT_SW_BPF_OUTPUT}
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		f.Logf("without a perf event: %v", err)
		return fds
	}
	f.Cleanup(func() { unix.Close(fd) })
	return append(fds, fd)
}

// furnish makes the files that paths of requests lead to.
func furnish(t *testing.T, dir string) {
	t.Helper()
	for name, content := range map[string]string{"a": "content\n", "kprobe_events": "p:group/event function\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tracing/instances"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if e := os.RemoveAll(filepath.Join(dir, e.Name())); e != nil {
			err = e
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// descriptors is how many this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// tame returns the frames of an input as they may be served here, and how many
// replies each id is owed. All is as it was from the first malformed frame on.
func tame(input []byte, dir string) (in *sender, owed map[uint32]int) {
	in, owed = &sender{}, make(map[uint32]int)
	for len(input) > 0 {
		h, err := wire.ParseHeader(input)
		row, known := requests[h.Type]
		if err != nil || !known || int(h.Len) > len(input)-wire.HeaderSize {
			break
		}
		req := row.body()
		end := wire.HeaderSize + int(h.Len)
		if req.Decode(bytes.Clone(input[wire.HeaderSize:end])) != nil {
			break
		}
		input = input[end:]
		if !confine(req, dir) {
			continue
		}
		if h.Type == wire.TypeRead {
			h.ID &^= 1 // it may wait for ever
		}
		f := sent{frame: wire.AppendFrame(nil, h.Type, h.ID, req.(wire.Message)), id: h.ID}
		switch h.Type {
		case wire.TypeCredit, wire.TypeCancel, wire.TypeAck:
		default:
			if h.ID != 0 {
				owed[h.ID]++
			}
		}
		if h.ID%2 == 1 {
			f.replies = owed[h.ID]
		}
		in.list = append(in.list, f)
	}
	in.list = append(in.list, sent{frame: input})
	return in, owed
}

// sent is a frame. The next one waits until there are so many replies with its
// id: for those with odd ids, so that others run at the same time.
type sent struct {
	frame   []byte
	id      uint32
	replies int
}

// sender is what a session reads.
type sender struct {
	h    *host
	list []sent
	now  sent
}

func (s *sender) Read(p []byte) (int, error) {
	for len(s.now.frame) == 0 {
		for s.h.count(s.now.id) < s.now.replies {
			time.Sleep(10 * time.Microsecond)
		}
		if len(s.list) == 0 {
			return 0, io.EOF
		}
		s.now, s.list = s.list[0], s.list[1:]
	}
	n := copy(p, s.now.frame)
	s.now.frame = s.now.frame[n:]
	return n, nil
}

// most is how large or how many something may be, so that it does not take
// long: the limits have tests of their own.
const most = 1 << 17

// confine changes a request so that it stays in dir, and says whether it may be
// served.
func confine(req wire.Body, dir string) bool {
	path := func(p string) string { return filepath.Join(dir, filepath.Clean("/"+p)) }
	switch r := req.(type) {
	case *wire.Path:
		r.Path = path(r.Path)
	case *wire.Open:
		if r.Path != fdinfo+"1" {
			r.Path = path(r.Path)
		}
	case *wire.PathOp:
		r.Path, r.Path2, r.Arg = path(r.Path), path(r.Path2), r.Arg%(1<<40)
		return r.Op != wire.OpMountBPF
	case *wire.Call:
		return confineCall(r)
	case *wire.Walk:
		r.Max %= 1000
		return r.KeySize <= most && r.ValueSize <= most
	case *wire.Stream:
		return r.Size <= most || r.Size > 1<<30
	}
	return true
}

// confineCall has a call whose result is kept make a descriptor, and no other.
func confineCall(c *wire.Call) bool {
	total := 0
	for _, b := range c.Bufs {
		total += int(b.Len)
	}
	if c.Sys = wire.SysBPF; c.Result != 0 {
		c.Sys = wire.SysPerfEventOpen
	}
	return total <= most
}
