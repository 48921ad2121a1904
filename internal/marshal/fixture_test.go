package marshal

import (
	"bytes"
	"testing"

	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// memory is a tool's memory: one stretch from base on.
type memory struct{ b []byte }

const base = 0x10000

func (m *memory) at(addr uint64, n int) ([]byte, error) {
	if addr < base || addr-base+uint64(n) > uint64(len(m.b)) {
		return nil, unix.EFAULT
	}
	return m.b[addr-base:][:n], nil
}

func (m *memory) ReadAt(addr uint64, p []byte) error {
	b, err := m.at(addr, len(p))
	copy(p, b)
	return err
}

func (m *memory) WriteAt(addr uint64, p []byte) error {
	b, err := m.at(addr, len(p))
	copy(b, p)
	return err
}

func (m *memory) String(addr uint64) (string, error) {
	if addr < base || addr >= base+uint64(len(m.b)) {
		return "", unix.EFAULT
	}
	b := m.b[addr-base:]
	i := bytes.IndexByte(b, 0)
	switch {
	case i > 4096:
		return string(b[:4096]), unix.ENAMETOOLONG
	case i < 0:
		return "", unix.EFAULT
	}
	return string(b[:i]), nil
}

// put appends bytes, aligned, and returns where they are.
func (m *memory) put(b []byte) uint64 {
	m.b = append(m.b, make([]byte, -len(m.b)&7)...)
	addr := base + uint64(len(m.b))
	m.b = append(m.b, b...)
	return addr
}

// objects are a tool's descriptors.
type objects struct {
	objects map[int32]*Object
	foreign map[int32]wire.Handle
	open    map[int32]bool // of kinds that no call wants
	link    uint32         // type of all links
}

const otherHandle = 999

func (o *objects) Object(fd int32) *Object { return o.objects[fd] }
func (o *objects) Foreign(fd int32) (wire.Handle, bool) {
	h, ok := o.foreign[fd]
	return h, ok
}
func (o *objects) Other(fd int32) (wire.Handle, bool) {
	if o.open[fd] {
		return otherHandle, true
	}
	return 0, false
}
func (o *objects) LinkType(*Object) uint32 { return o.link }

// fixture is a tool, and a marshaller whose warnings are kept.
type fixture struct {
	memory
	objects
	m        Marshaller
	warnings []string
}

func newFixture() *fixture {
	f := &fixture{}
	hash := &MapInfo{Type: unix.BPF_MAP_TYPE_HASH, KeySize: 4, ValueSize: 12, MaxEntries: 8}
	percpu := &MapInfo{Type: unix.BPF_MAP_TYPE_PERCPU_HASH, KeySize: 4, ValueSize: 12}
	devmap := &MapInfo{Type: unix.BPF_MAP_TYPE_DEVMAP, KeySize: 4, ValueSize: 8}
	tasks := &MapInfo{Type: unix.BPF_MAP_TYPE_TASK_STORAGE, KeySize: 4, ValueSize: 8}
	f.objects = objects{
		objects: map[int32]*Object{
			5: {Handle: 50, Kind: abi.KindMap, Map: hash}, 6: {Handle: 60, Kind: abi.KindMap, Map: percpu},
			7: {Handle: 70, Kind: abi.KindProg}, 8: {Handle: 80, Kind: abi.KindMap, Map: devmap},
			9: {Handle: 90, Kind: abi.KindMap, Map: tasks}, 10: {Handle: 100, Kind: abi.KindPidfd},
			11: {Handle: 110, Kind: abi.KindLink}, 12: {Handle: 120, Kind: abi.KindMap}, 13: {Handle: 130, Kind: abi.KindPerf},
		},
		foreign: map[int32]wire.Handle{20: 200},
		open:    map[int32]bool{1: true},
	}
	next := wire.Handle(1000)
	f.m = Marshaller{
		NewHandle: func() wire.Handle { next++; return next },
		Warn:      func(s string) { f.warnings = append(f.warnings, s) },
		Target:    Target{CPUs: 3, WordSize: 8, Version: 6 << 16, UprobePMU: 8},
	}
	return f
}

// call is union bpf_attr as a tool fills it.
type call struct {
	f *fixture
	b []byte
}

func (f *fixture) call(size int) *call      { return &call{f, make([]byte, size)} }
func (c *call) u32(off int, v uint32) *call { le.PutUint32(c.b[off:], v); return c }
func (c *call) u64(off int, v uint64) *call { le.PutUint64(c.b[off:], v); return c }
func (c *call) ptr(off int, b []byte) *call { return c.u64(off, c.f.put(b)) }
func (c *call) do(cmd uint32) (*Request, unix.Errno) {
	return c.f.m.BPF(c.f, c.f, cmd, c.f.put(c.b), uint32(len(c.b)))
}

func (c *call) must(t *testing.T, cmd uint32) *Request {
	t.Helper()
	r, e := c.do(cmd)
	if e != 0 {
		t.Fatalf("%s: %v", abi.Commands[cmd].Name, e)
	}
	if len(r.Call.Bufs) > 0 { // what is marshalled is what a target accepts
		var back wire.Call
		if err := back.Decode(r.Call.Append(nil)); err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
	}
	return r
}

// patchAt returns the patch at a place, nil if there is none.
func patchAt(r *Request, buf uint16, off uint32) *wire.Patch {
	for i := range r.Call.Patches {
		if p := &r.Call.Patches[i]; p.Buf == buf && p.Off == off {
			return p
		}
	}
	return nil
}

func wantFD(t *testing.T, r *Request, buf uint16, off, handle uint32) {
	t.Helper()
	if p := patchAt(r, buf, off); p == nil || p.Kind != wire.PatchFD || p.Ref != handle {
		t.Errorf("%s: at %d of buffer %d is %+v, want descriptor %d", r.Name, off, buf, p, handle)
	}
}

// buffer returns what the pointer at an offset of the attributes leads to.
func buffer(t *testing.T, r *Request, off uint32) (uint16, *wire.Buf) {
	t.Helper()
	p := patchAt(r, attrBuf, off)
	if p == nil || p.Kind != wire.PatchPtr {
		t.Fatalf("%s: no pointer at %d", r.Name, off)
	}
	return uint16(p.Ref), &r.Call.Bufs[p.Ref]
}

func u32s(list ...uint32) []byte {
	var b []byte
	for _, v := range list {
		b = le.AppendUint32(b, v)
	}
	return b
}
