package text

import (
	"debug/elf"
	"encoding/base64"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// traced is a system call that hardly anything makes, and its tracepoint.
const traced = "sys_enter_getpriority"

func makeTraced() { unix.Getpriority(unix.PRIO_PROCESS, 0) }

func needTracepoint(t *testing.T) {
	t.Helper()
	needBPF(t)
	if !exists(tracefs() + "/events/syscalls/" + traced + "/id") {
		t.Skip("tracefs has no tracepoints of system calls")
	}
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// watched returns a session in which map 3 leads to buffer 4 of CPU 0, which this
// goroutine stays on, and program 5 writes size bytes into it.
func watched(t *testing.T, size, pages int) *client {
	needTracepoint(t)
	stay(t, 0)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 4 4 4 %d 0", possibleCPUs())
	c.want(4, "BPF_OPEN_PERF_BUFFER -1 0 %d", pages)
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 4 0", b64(0), b64(4))
	c.want(5, "BPF_PROG_LOAD 5 out %s", outputProgram(3, size))
	return c
}

// records polls buffer 4 and returns how many records there were, which must
// have size bytes in the ring.
func records(c *client, timeout, size int) int {
	c.t.Helper()
	lines := c.do("PERF_READER_POLL %d 1 4", timeout)
	for _, line := range lines {
		var fd, n int
		var data string
		if _, err := fmt.Sscanf(line, "%d %d %s", &fd, &n, &data); err != nil || fd != 4 || n != size {
			c.t.Fatalf("line %q: %v", line, err)
		}
		if b, err := base64.StdEncoding.DecodeString(data); err != nil || len(b) != size || !strings.HasPrefix(string(b), "aaaa\x00\x00\x00\x00aaaa") {
			c.t.Fatalf("data %q: %v", data, err)
		}
	}
	return len(lines)
}

// TestTracepoint: events arrive, in all dialects, until the program is detached.
func TestTracepoint(t *testing.T) {
	for _, d := range []struct {
		name, attach string
		answer       int
		detach       []string
	}{
		{"A", "BPF_ATTACH_TRACEPOINT 5 syscalls " + traced + " -1 0 -1", 5, []string{"BPF_DETACH_TRACEPOINT syscalls " + traced}},
		{"B", "BPF_ATTACH_TRACEPOINT 5 syscalls " + traced, 6, []string{"BPF_DETACH_TRACEPOINT syscalls " + traced + " 0"}},
		{"E", "BPF_ATTACH_TRACEPOINT 5 syscalls " + traced, 6, []string{"BPF_CLOSE_PERF_EVENT_FD 6", "BPF_DETACH_TRACEPOINT syscalls " + traced}},
		{"extension", "BPF_ATTACH_TRACEPOINT 5 syscalls " + traced, 6, []string{"DETACH_ALL"}},
	} {
		t.Run(d.name, func(t *testing.T) {
			c := watched(t, 64, 8)
			if n := records(c, 0, 68); n != 0 {
				t.Errorf("%d records before the program is attached", n)
			}
			c.want(d.answer, "%s", d.attach)
			for range 5 {
				makeTraced()
			}
			if n := records(c, 0, 68); n != 5 {
				t.Errorf("%d records", n)
			}
			for _, line := range d.detach {
				if got := c.ret("%s", line); got < 0 {
					t.Errorf("%s: ret=%d", line, got)
				}
			}
			makeTraced()
			if n := records(c, 0, 68); n != 0 {
				t.Errorf("%d records after the program was detached", n)
			}
			c.want(0, "BPF_DETACH_TRACEPOINT syscalls never_attached")
			c.finish()
		})
	}
}

// TestPollEnds: by a record, by input that is there, and by input that comes.
func TestPollEnds(t *testing.T) {
	c := watched(t, 8, 8)
	c.want(6, "BPF_ATTACH_TRACEPOINT 5 syscalls %s", traced)
	c.send("PERF_READER_POLL -1 1 4\nfoo\n")
	same(t, c.reply())
	same(t, c.reply(), "Command not recognized")
	c.send("PERF_READER_POLL -1 1 4\n")
	c.send("\n")
	same(t, c.reply())
	same(t, c.do("PERF_READER_POLL 0 0"))
	makeTraced()
	if lines := c.do("PERF_READER_POLL 0 2 4 4"); len(lines) != 1 {
		t.Errorf("a buffer that is named twice: %q", lines)
	}
	same(t, c.do("PERF_READER_POLL 1 1 4"))
	for range 3 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.send("PERF_READER_POLL -1 1 4\n")
		}()
		<-done
		makeTraced()
		if lines := c.reply(); len(lines) != 1 || !strings.HasPrefix(lines[0], "4 12 YWFhYQAAAAA") {
			t.Errorf("lines %q", lines)
		}
	}
	// The end of the input ends a poll that would wait for ever.
	c.send("PERF_READER_POLL -1 1 4\n")
	c.in.Close()
	same(t, c.reply())
	c.finish()
}

// TestFlood: a poll returns what there was when it began, however fast more comes.
func TestFlood(t *testing.T) {
	const pages = 2
	c := watched(t, 64, pages)
	c.want(6, "BPF_ATTACH_TRACEPOINT 5 syscalls %s", traced)
	var stop atomic.Bool
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for !stop.Load() {
			makeTraced()
		}
	}()
	total := 0
	for range 100 {
		n := records(c, 100, 68)
		if n > pages*os.Getpagesize()/80 {
			t.Fatalf("%d records of a ring of %d pages", n, pages)
		}
		total += n
	}
	stop.Store(true)
	<-flooded
	t.Logf("%d records", total)
}

// TestWrites: a reply of many lines takes few calls. Each is a packet of its own
// here.
func TestWrites(t *testing.T) {
	needTracepoint(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stay(t, 0)
	end := make(chan error, 1)
	go func() {
		end <- Serve(int(r.Fd()), fds[1], nil, Options{})
		r.Close()
		unix.Close(fds[1])
	}()
	b := make([]byte, 1<<20)
	do := func(line string) string {
		t.Helper()
		w.WriteString(line + "\n")
		n, err := unix.Read(fds[0], b)
		if err != nil || !strings.HasPrefix(string(b[:n]), Start) || !strings.HasSuffix(string(b[:n]), End) {
			t.Fatalf("%.40s: %v, a packet of %d bytes", line, err, n)
		}
		return string(b[:n])
	}
	do("BPF_CREATE_MAP 4 4 4 64 0")
	do("BPF_OPEN_PERF_BUFFER -1 0 16")
	do("BPF_UPDATE_ELEM 3 " + b64(0) + " 4 " + b64(4) + " 4 0")
	do("BPF_PROG_LOAD 5 watch " + outputProgram(3, 64))
	do("BPF_ATTACH_TRACEPOINT 5 syscalls " + traced)
	const made = 500
	for range made {
		makeTraced()
	}
	if n := strings.Count(do("PERF_READER_POLL 0 1 4"), "\n4 68 "); n < made {
		t.Errorf("%d records", n)
	}
	w.Close()
	if err := <-end; err != nil {
		t.Error(err)
	}
	unix.Close(fds[0])
}

// TestLoss: what the kernel drops is counted, and is no line of a frame.
func TestLoss(t *testing.T) {
	c := watched(t, 64, 1)
	c.want(6, "BPF_ATTACH_TRACEPOINT 5 syscalls %s", traced)
	const made = 200
	for range made {
		makeTraced()
	}
	got := records(c, 0, 68)
	c.want(0, "PERF_READER_LOST 4")
	makeTraced() // before this record stands what was lost
	more := records(c, 0, 68)
	if lost := c.ret("PERF_READER_LOST 4"); more != 1 || got+lost != made || lost == 0 {
		t.Errorf("%d made, %d and %d read, %d lost", made, got, more, lost)
	}
}

// TestManyBuffers: 64 and more in one poll; one that is unknown is an error.
func TestManyBuffers(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	list := ""
	for i := range 100 {
		c.want(3+i, "BPF_OPEN_PERF_BUFFER -1 0 1")
		list += fmt.Sprint(" ", 3+i)
	}
	same(t, c.do("PERF_READER_POLL 0 100%s", list))
	same(t, c.do("PERF_READER_POLL 0 64%s", list))
	same(t, c.do("PERF_READER_POLL 0 101%s", list), "Command not recognized")
	same(t, c.do("PERF_READER_POLL 0 101%s 999", list), "perf_reader_poll: ret=-1")
	c.want(0, "CLOSE 50")
	same(t, c.do("PERF_READER_POLL 0 100%s", list), "perf_reader_poll: ret=-1")
}

//go:noinline
func probed() int { return int(calls.Add(1)) }

var calls atomic.Int64

// probedPlace returns where the function probed is in this program's file.
func probedPlace(t *testing.T) (path string, offset uint64) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	addr := uint64(reflect.ValueOf(probed).Pointer())
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr < p.Vaddr+p.Filesz {
			return path, addr - p.Vaddr + p.Off
		}
	}
	t.Skip("the test is position-independent")
	return "", 0
}

// TestUprobe: by path, for all processes and for one.
func TestUprobe(t *testing.T) {
	path, offset := probedPlace(t)
	for _, pid := range []int{-1, 0, os.Getpid()} {
		c := watched(t, 16, 8)
		c.want(6, "BPF_PROG_LOAD 2 out %s", outputProgram(3, 16))
		c.want(7, "BPF_ATTACH_UPROBE 6 0 p_probed %s %d %d", path, offset, pid)
		probed()
		probed()
		if n := records(c, 0, 20); n != 2 {
			t.Errorf("pid %d: %d records", pid, n)
		}
		c.want(0, "BPF_DETACH_UPROBE p_probed")
		c.want(0, "BPF_DETACH_UPROBE p_probed")
		probed()
		if n := records(c, 0, 20); n != 0 {
			t.Errorf("pid %d: %d records after it was detached", pid, n)
		}
		c.finish()
	}
}

// TestTracefs: probes that are defined there, as kernels before 4.17 need it.
func TestTracefs(t *testing.T) {
	needTracepoint(t)
	if !exists(definitions(uprobe)) {
		t.Skip("tracefs has no uprobe_events")
	}
	path, offset := probedPlace(t)
	p := place{kind: uprobe, event: "odd.name-of:probe", target: path, offset: offset, pid: -1, group: -1}
	fd, definition, err := p.openTracefs()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(definitions(uprobe)); !strings.Contains(string(b), definition) || definition == "" {
		t.Errorf("%s is not in %s", definition, b)
	}
	s := &session{}
	s.probes.init()
	o := &object{fd: fd, perf: true}
	s.objects.add(o)
	name := probeName{uprobe, p.event}
	s.probes.all[name] = []*probe{{o, definition}}
	s.release()
	if b, _ := os.ReadFile(definitions(uprobe)); strings.Contains(string(b), definition) {
		t.Errorf("%s is still in %s", definition, b)
	}
	if _, _, err := (&place{kind: uprobe, event: "e", target: "/no/such", pid: -1}).openTracefs(); err == nil {
		t.Error("a probe in a file that is not there")
	}
}

func TestPerfEvent(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_PROG_LOAD 7 sample %s", nothing)
	c.want(4, "BPF_ATTACH_PERF_EVENT 3 1 0 0 99 -1 0 -1")
	c.want(5, "BPF_ATTACH_PERF_EVENT 3 1 0 1000000 0 -1 0 -1")
	c.want(0, "BPF_CLOSE_PERF_EVENT_FD 4")
	c.want(-1, "BPF_CLOSE_PERF_EVENT_FD 4")
	c.want(1, "DETACH_ALL")
	c.want(-1, "BPF_CLOSE_PERF_EVENT_FD 5")
	c.finish()
}

// TestNothingLeft: the end of a session closes all that it made.
func TestNothingLeft(t *testing.T) {
	made := func() (n int) {
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			link, _ := os.Readlink("/proc/self/fd/" + e.Name())
			if strings.Contains(link, "bpf") || strings.Contains(link, "perf") {
				n++
			}
		}
		return n
	}
	before := made()
	c := watched(t, 64, 8)
	c.want(6, "BPF_ATTACH_TRACEPOINT 5 syscalls %s", traced)
	c.want(7, "BPF_ATTACH_TRACEPOINT 5 syscalls %s", "sys_exit_getpriority")
	if made() < before+5 {
		t.Errorf("%d descriptors of bpf before, %d while the session lasts", before, made())
	}
	c.finish()
	if made() != before {
		t.Errorf("%d descriptors of bpf before, %d after", before, made())
	}
}
