package marshal

import (
	"bytes"
	"strings"
	"testing"

	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// A descriptor is translated by what it is; what is not the target's becomes
// something that the kernel refuses for the right reason.
func TestDescriptors(t *testing.T) {
	f := newFixture()
	wantFD(t, f.call(4).u32(0, 5).must(t, abi.BPF_MAP_FREEZE), attrBuf, 0, 50)
	wantFD(t, f.call(4).u32(0, 1).must(t, abi.BPF_MAP_FREEZE), attrBuf, 0, otherHandle)
	r := f.call(4).u32(0, 99).must(t, abi.BPF_MAP_FREEZE)
	if got := le.Uint32(r.Call.Bufs[0].In); got != badFD || len(r.Call.Patches) != 1 {
		t.Errorf("what is not open is sent as %d, %v", got, r.Call.Patches)
	}
	r = f.call(32).u32(0, 20).u32(4, 7).u32(8, unix.BPF_CGROUP_INET_EGRESS).must(t, abi.BPF_PROG_ATTACH)
	wantFD(t, r, attrBuf, 0, 200)
	wantFD(t, r, attrBuf, 4, 70)
	// The number of an interface is none.
	r = f.call(64).u32(0, 7).u32(4, 5).u32(8, unix.BPF_XDP).must(t, abi.BPF_LINK_CREATE)
	if p := patchAt(r, attrBuf, 4); p != nil || le.Uint32(r.Call.Bufs[0].In[4:]) != 5 {
		t.Errorf("interface 5 became %v", p)
	}
	r = f.call(72).u32(0, unix.BPF_MAP_TYPE_HASH_OF_MAPS).u32(20, 5).must(t, abi.BPF_MAP_CREATE)
	wantFD(t, r, attrBuf, 20, 50)
	// -1 and 0 stay.
	r = f.call(64).u32(0, 7).u32(4, 1<<32-1).u32(8, unix.BPF_PERF_EVENT).must(t, abi.BPF_LINK_CREATE)
	if got := le.Uint32(r.Call.Bufs[0].In[4:]); got != 1<<32-1 {
		t.Errorf("-1 became %d", got)
	}
}

func TestInstructions(t *testing.T) {
	f := newFixture()
	load := func(src byte, imm uint32) []byte {
		return append(append([]byte{opLoadImm64, src << 4, 0, 0}, u32s(imm)...), make([]byte, 8)...)
	}
	code := append(load(pseudoMapFD, 5), load(pseudoMapValue, 6)...)
	code = append(code, load(0, 5)...)              // a number
	code = append(code, load(pseudoIdxValue, 2)...) // the third of fd_array
	// A function of the kernel, from the BTF object that is the fourth.
	code = append(code, append([]byte{opCall, pseudoKfunc << 4, 3, 0}, u32s(1234)...)...)
	r := f.call(152).u32(0, 1).u32(4, uint32(len(code)/8)).ptr(8, code).ptr(16, []byte("GPL\x00")).
		ptr(120, u32s(77, 1<<32-1, 6, 7, 5)).must(t, abi.BPF_PROG_LOAD)
	buf, _ := buffer(t, r, 8)
	wantFD(t, r, buf, 4, 50)
	wantFD(t, r, buf, 20, 60)
	if p := patchAt(r, buf, 36); p != nil {
		t.Errorf("a number became %v", p)
	}
	array, b := buffer(t, r, 120)
	if b.Len != 16 {
		t.Errorf("fd_array has %d bytes, want as many as are used: 16", b.Len)
	}
	wantFD(t, r, array, 8, 60)
	wantFD(t, r, array, 12, 70)
	if le.Uint32(b.In) != badFD {
		t.Errorf("what is not open in fd_array is sent as %d", le.Uint32(b.In))
	}
	// With a count all entries are meant.
	r = f.call(152).u32(0, 1).u32(4, uint32(len(code)/8)).ptr(8, code).ptr(120, u32s(5, 5, 6, 7, 5)).u32(148, 5).must(t, abi.BPF_PROG_LOAD)
	array, _ = buffer(t, r, 120)
	wantFD(t, r, array, 16, 50)
	if _, e := f.call(152).u32(4, 2<<20).ptr(8, code).do(abi.BPF_PROG_LOAD); e != unix.E2BIG {
		t.Errorf("2 M instructions: %v, want E2BIG", e)
	}
	if _, e := f.call(152).u32(4, 1000).u64(8, 0x10).do(abi.BPF_PROG_LOAD); e != unix.EFAULT {
		t.Errorf("code that cannot be read: %v, want EFAULT", e)
	}
}

// Descriptors inside of keys and values.
func TestElements(t *testing.T) {
	f := newFixture()
	r := f.call(32).u32(0, 8).ptr(8, u32s(1)).ptr(16, u32s(3, 7)).must(t, abi.BPF_MAP_UPDATE_ELEM)
	buf, b := buffer(t, r, 16)
	wantFD(t, r, buf, 4, 70)
	if le.Uint32(b.In) != 3 {
		t.Errorf("the interface became %d", le.Uint32(b.In))
	}
	r = f.call(32).u32(0, 9).ptr(8, u32s(10)).ptr(16, make([]byte, 8)).must(t, abi.BPF_MAP_LOOKUP_ELEM)
	buf, _ = buffer(t, r, 8)
	wantFD(t, r, buf, 0, 100)
	r = f.call(56).ptr(16, u32s(0, 1)).ptr(24, u32s(3, 7, 4, 7)).u32(32, 2).u32(36, 8).must(t, abi.BPF_MAP_UPDATE_BATCH)
	buf, _ = buffer(t, r, 24)
	wantFD(t, r, buf, 4, 70)
	wantFD(t, r, buf, 12, 70)
	// A value for each processor.
	r = f.call(32).u32(0, 6).ptr(8, u32s(1)).ptr(16, make([]byte, 48)).must(t, abi.BPF_MAP_LOOKUP_ELEM)
	if _, b := buffer(t, r, 16); b.Len != 48 {
		t.Errorf("a value of 12 bytes for 3 processors takes %d, want 48", b.Len)
	}
	if _, e := f.call(32).u32(0, 12).ptr(8, u32s(1)).ptr(16, make([]byte, 8)).do(abi.BPF_MAP_LOOKUP_ELEM); e != unix.EIO {
		t.Errorf("a map whose sizes are not known: %v, want EIO", e)
	}
}

// Attributes that are not known fail as on an older kernel, with one warning.
func TestUnknown(t *testing.T) {
	f := newFixture()
	for range 2 {
		if _, e := f.call(16).do(uint32(len(abi.Commands))); e != unix.EINVAL {
			t.Errorf("a command that is not known: %v, want EINVAL", e)
		}
		if _, e := f.call(64).u32(0, 5).u32(40, 1).do(abi.BPF_MAP_FREEZE); e != unix.EINVAL {
			t.Errorf("something behind the attributes: %v, want EINVAL", e)
		}
		if _, e := f.call(300).u32(0, 5).u32(296, 1).do(abi.BPF_MAP_FREEZE); e != unix.E2BIG {
			t.Errorf("something behind all attributes: %v, want E2BIG", e)
		}
	}
	if len(f.warnings) != 2 {
		t.Errorf("%d warnings, want one for each: %q", len(f.warnings), f.warnings)
	}
	if r := f.call(300).u32(0, 5).must(t, abi.BPF_MAP_FREEZE); len(r.Call.Bufs[0].In) != 4 {
		t.Errorf("zeros are sent: %d bytes", len(r.Call.Bufs[0].In))
	}
	info := make([]byte, 200)
	info[199] = 1
	if _, e := f.call(16).u32(0, 7).u32(4, 200).ptr(8, info).do(abi.BPF_OBJ_GET_INFO_BY_FD); e != unix.E2BIG && abi.InfoSizes[abi.KindProg] < 200 {
		t.Errorf("something behind an info: %v, want E2BIG", e)
	}
}

// What does not fit into a frame is refused here.
func TestTooLong(t *testing.T) {
	f := newFixture()
	f.objects.objects[5].Map.ValueSize = wire.MaxBody
	if _, e := f.call(32).u32(0, 5).ptr(8, u32s(1)).ptr(16, make([]byte, wire.MaxBody)).do(abi.BPF_MAP_UPDATE_ELEM); e != unix.E2BIG {
		t.Errorf("a value as large as a frame: %v, want E2BIG", e)
	}
	if len(f.warnings) != 1 || !strings.Contains(f.warnings[0], "BPF_MAP_UPDATE_ELEM") {
		t.Errorf("warnings: %q", f.warnings)
	}
}

// Finish writes what the kernel has written, and nothing else.
func TestFinish(t *testing.T) {
	f := newFixture()
	keys, values := bytes.Repeat([]byte{0xaa}, 16), bytes.Repeat([]byte{0xbb}, 48)
	c := f.call(56).ptr(8, make([]byte, 4)).ptr(16, keys).ptr(24, values).u32(32, 4).u32(36, 5)
	attr := f.put(c.b)
	r, e := f.m.BPF(f, f, abi.BPF_MAP_LOOKUP_BATCH, attr, 56)
	if e != 0 {
		t.Fatal(e)
	}
	returned := bytes.Clone(c.b)
	le.PutUint32(returned[32:], 2)
	// The map ends after two entries, whose last bytes are zeros: those are not sent.
	_, e = r.Finish(&wire.CallReply{Errno: uint32(unix.ENOENT), Out: [][]byte{returned[:33], {9}, {1, 0, 0, 0, 2}, {7}}})
	if e != unix.ENOENT {
		t.Errorf("errno %v", e)
	}
	read := func(addr uint64, n int) []byte {
		b, err := f.at(addr, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got := le.Uint32(read(attr+32, 4)); got != 2 {
		t.Errorf("count %d, want 2", got)
	}
	want := append([]byte{1, 0, 0, 0, 2, 0, 0, 0}, keys[8:]...)
	if got := read(le.Uint64(c.b[16:]), 16); !bytes.Equal(got, want) {
		t.Errorf("keys %x, want %x", got, want)
	}
	want = append(append([]byte{7}, make([]byte, 23)...), values[24:]...)
	if got := read(le.Uint64(c.b[24:]), 48); !bytes.Equal(got, want) {
		t.Errorf("values %x, want %x", got, want)
	}
	if got := le.Uint64(read(attr+16, 8)); got != le.Uint64(c.b[16:]) {
		t.Errorf("the tool's pointer became %#x", got)
	}
	// Another failure leaves all as it was.
	r, _ = f.m.BPF(f, f, abi.BPF_MAP_LOOKUP_BATCH, attr, 56)
	before := bytes.Clone(f.b)
	r.Finish(&wire.CallReply{Errno: uint32(unix.EINVAL), Out: [][]byte{r.Call.Bufs[attrBuf].In, {1}, {2}, {3}}})
	if !bytes.Equal(before, f.b) {
		t.Error("a call that failed has written")
	}
}

// A link's name is a pointer or not by its type, which the target is asked for.
func TestLinkInfo(t *testing.T) {
	f := newFixture()
	name := bytes.Repeat([]byte{0xff}, 16)
	f.link = unix.BPF_LINK_TYPE_RAW_TRACEPOINT
	c := f.call(64).ptr(16, name).u32(24, 16)
	info := f.put(c.b)
	r := f.call(16).u32(0, 11).u32(4, 64).u64(8, info).must(t, abi.BPF_OBJ_GET_INFO_BY_FD)
	buf, _ := buffer(t, r, 8)
	if p := patchAt(r, buf, 16); p == nil || p.Kind != wire.PatchPtr {
		t.Fatalf("the name is %v", p)
	}
	reply := make([]byte, 64)
	le.PutUint32(reply, f.link)
	le.PutUint64(reply[16:], 0xdeadbeef) // the target's own pointer
	if _, e := r.Finish(&wire.CallReply{Out: [][]byte{{11, 0, 0, 0, 64}, reply, []byte("sys_enter\x00")}}); e != 0 {
		t.Fatal(e)
	}
	got, _ := f.at(info, 64)
	if le.Uint64(got[16:]) != le.Uint64(c.b[16:]) {
		t.Errorf("the pointer became %#x", le.Uint64(got[16:]))
	}
	text, _ := f.at(le.Uint64(c.b[16:]), 16)
	if want := "sys_enter\x00\xff\xff\xff\xff\xff\xff"; string(text) != want {
		t.Errorf("name %q, want %q", text, want)
	}
	f.link = unix.BPF_LINK_TYPE_XDP
	r = f.call(16).u32(0, 11).u32(4, 64).u64(8, f.put(c.b)).must(t, abi.BPF_OBJ_GET_INFO_BY_FD)
	if p := patchAt(r, 1, 16); p != nil {
		t.Errorf("a number became %v", p)
	}
}

func TestPerf(t *testing.T) {
	f := newFixture()
	attr := make([]byte, 128)
	le.PutUint32(attr, f.m.Target.UprobePMU)
	le.PutUint32(attr[perfSize:], 128)
	le.PutUint64(attr[perfConfig1:], f.put([]byte("/bin/sh\x00")))
	args := [6]uint64{f.put(attr), 1<<64 - 1, 0, 13, 8}
	r, e := f.m.PerfEventOpen(f, f, args, func(ev *PerfEvent) unix.Errno { ev.Path += ".target"; return 0 })
	if e != 0 {
		t.Fatal(e)
	}
	wantFD(t, r, wire.PatchArg, 3, 130)
	if p := patchAt(r, 0, perfConfig1); p == nil || string(r.Call.Bufs[p.Ref].In) != "/bin/sh.target" {
		t.Errorf("the path is %v", p)
	}
	if got := Format(r, 0, 0); !strings.Contains(got, `config1="/bin/sh.target"`) || !strings.Contains(got, "@130") {
		t.Errorf("printed as %s", got)
	}
	// The kernel corrects the size.
	if _, e := r.Finish(&wire.CallReply{Errno: uint32(unix.E2BIG), Out: [][]byte{append(u32s(8, 136), make([]byte, 120)...)}}); e != unix.E2BIG {
		t.Errorf("errno %v", e)
	}
	if b, _ := f.at(args[0]+perfSize, 4); le.Uint32(b) != 136 {
		t.Errorf("size %d, want 136", le.Uint32(b))
	}
	if _, e := f.m.PerfIoctl(f, f, [6]uint64{13, 0x2463, 0}); e != unix.ENOTTY {
		t.Errorf("an ioctl that is not known: %v, want ENOTTY", e)
	}
	query := f.put(u32s(2, 0, 9, 9))
	if r, e = f.m.PerfIoctl(f, f, [6]uint64{13, unix.PERF_EVENT_IOC_QUERY_BPF, query}); e != 0 {
		t.Fatal(e)
	}
	if r.Finish(&wire.CallReply{Errno: uint32(unix.ENOSPC), Out: [][]byte{u32s(2, 3, 4, 5)}}); !bytes.Equal(f.b[query-base:][:16], u32s(2, 3, 4, 5)) {
		t.Errorf("programs %v", f.b[query-base:][:16])
	}
}

func TestFormat(t *testing.T) {
	f := newFixture()
	r := f.call(20).ptr(0, []byte("/sys/fs/bpf/x\x00")).u32(8, 5).must(t, abi.BPF_OBJ_PIN)
	if got, want := Format(r, 0, unix.EEXIST), `BPF_OBJ_PIN(pathname="/sys/fs/bpf/x", bpf_fd=@50) = -1 EEXIST`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := Format(Refused(250), 0, unix.EINVAL), "bpf(250) = -1 EINVAL"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r = f.call(64).u32(0, 7).u32(4, 13).u32(8, unix.BPF_PERF_EVENT).u64(16, 1<<40).must(t, abi.BPF_LINK_CREATE)
	if got, want := Format(r, 0, 0), "BPF_LINK_CREATE(prog_fd=@70, target_fd=@130, attach_type=41, cookie=0x10000000000) = @"; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
}
