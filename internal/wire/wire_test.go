package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// bodies has a filled message of every type of body.
var bodies = []interface {
	Message
	Body
}{
	&Hello{Version: 1, Session: SessionID{1, 2}, Received: 3, Lease: 60, Software: "bpfctl"},
	&Welcome{Version: 1, Software: "bpfd", Info: Info{Arch: "arm64", Release: "6.1", Pid: 7, Caps: 1 << 39, Triggers: []uint64{4096}}},
	&Ack{Received: 9},
	&Close{Handles: []Handle{1, 2}},
	&Trigger{Index: 1},
	&Status{Errno: 22},
	&Call{Sys: SysBPF, Flags: CallSlow, Result: 3, Args: []uint64{5, 0, 48},
		Bufs:    []Buf{{Flags: BufIn, Len: 48, In: []byte{1}}, {Flags: BufOut | BufStr, Len: 4096}},
		Patches: []Patch{{Kind: PatchPtr, Buf: PatchArg, Off: 1}, {Kind: PatchPtr, Off: 8, Ref: 1}, {Kind: PatchFD, Off: 44, Ref: 9}}},
	&CallReply{Ret: -1, Errno: 1, Out: [][]byte{{1}, {}}},
	&Walk{Map: 1, KeySize: 4, ValueSize: 8, Max: 100, After: []byte{1, 2, 3, 4}},
	&WalkReply{Errno: 2, Count: 1, Keys: []byte{1}, Values: []byte{2}},
	&Stream{ID: 1, Kind: StreamPerf, Handle: 2, Size: 4096, Credit: 4096},
	&Credit{Total: 1 << 40},
	&Data{Position: 1, Bytes: []byte("record")},
	&Memory{Handle: 1, Size: 16, Words: []Word{{Off: 8, Old: 1, New: 2}}},
	&MemoryReply{Runs: []Run{{Off: 8, Bytes: []byte{1}}}},
	&WriteRing{Handle: 1, Size: 4096, Bytes: []byte{1}},
	&WriteRingReply{Consumed: 8},
	&Path{Path: "/proc", Follow: true},
	&StatReply{Attr: Attr{Mode: 0o40755, Ino: 1, Mtime: -1}},
	&BytesReply{Bytes: []byte("x")},
	&ReadDirReply{Entries: []Entry{{Name: "a", Type: 0o40000, Ino: 1}, {Name: "b", Attr: &Attr{Size: 1}}}},
	&Open{Result: 1, Flags: OpenRead | OpenPath, Mode: 0o600, Snapshot: 4096, Path: "/x"},
	&OpenReply{EOF: true, Bytes: []byte("x")},
	&Read{Handle: 1, Off: NoOffset, Len: 1},
	&Write{Handle: 1, Off: 4, Bytes: []byte("x")},
	&WriteReply{Count: 1},
	&PathOp{Op: OpMkdir, Path: "/a", Arg: 0o700},
	&StatfsReply{Type: 0xcafe4a11},
	&Info{Arch: "riscv64"},
}

func TestRoundTrip(t *testing.T) {
	for _, m := range bodies {
		got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Body)
		if err := got.Decode(m.Append(nil)); err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		// Empty and nil slices are one thing on the wire: compare what it says.
		if a, b := m.Append(nil), got.(Message).Append(nil); !bytes.Equal(a, b) {
			t.Errorf("%T: encoded %x, decoded and encoded again %x", m, a, b)
		}
	}
}

// Every message that is cut short, or goes on, is refused.
func TestLength(t *testing.T) {
	for _, m := range bodies {
		whole := m.Append(nil)
		fresh := func() Body { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Body) }
		_, open := m.(*Data) // its last field has no length of its own
		for n := range whole {
			if err := fresh().Decode(whole[:n]); err == nil && !(open && n >= 8) {
				t.Errorf("%T: %d of %d bytes are accepted", m, n, len(whole))
			}
		}
		if err := fresh().Decode(append(whole, 0)); err == nil && !open {
			t.Errorf("%T: a byte too many is accepted", m)
		}
	}
}

func TestHeader(t *testing.T) {
	frame := AppendFrame(nil, TypeStatfs, 7, &Path{Path: "/"})
	for name, c := range map[string]struct {
		change func(b []byte)
		ok     bool
	}{
		"good":     {func([]byte) {}, true},
		"type 0":   {func(b []byte) { b[4] = 0 }, false},
		"type 99":  {func(b []byte) { b[4] = 99 }, false},
		"reserved": {func(b []byte) { b[6] = 1 }, false},
		"too long": {func(b []byte) { b[3] = 0x7f }, false},
	} {
		b := bytes.Clone(frame)
		c.change(b)
		if _, err := ParseHeader(b); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseHeader(frame[:HeaderSize-1]); err == nil {
		t.Error("a header that is cut short is accepted")
	}
}

// A patch outside of its buffer would let the host write anywhere in the daemon.
func TestPatchOutside(t *testing.T) {
	for name, p := range map[string]Patch{
		"past the end":      {Kind: PatchPtr, Buf: 0, Off: 41},
		"overflow":          {Kind: PatchPtr, Buf: 0, Off: 0xffffffff},
		"no such buffer":    {Kind: PatchPtr, Buf: 1, Off: 0},
		"pointer to none":   {Kind: PatchPtr, Buf: 0, Off: 0, Ref: 1},
		"no such argument":  {Kind: PatchFD, Buf: PatchArg, Off: 6},
		"fd past the end":   {Kind: PatchFD, Buf: 0, Off: 45},
		"unknown kind":      {Kind: 9, Buf: 0, Off: 0},
		"path in a buffer":  {Kind: PatchPath, Buf: 0, Off: 0},
		"kind of no number": {Kind: 0, Buf: 0, Off: 0},
	} {
		c := Call{Sys: SysBPF, Args: make([]uint64, 3), Bufs: []Buf{{Len: 48}}, Patches: []Patch{p}}
		if err := new(Call).Decode(c.Append(nil)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzBody: whatever decodes encodes to the same bytes, and nothing crashes.
func FuzzBody(f *testing.F) {
	for i, m := range bodies {
		f.Add(uint8(i), m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m := bodies[int(kind)%len(bodies)]
		got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Body)
		if got.Decode(b) != nil {
			return
		}
		if again := got.(Message).Append(nil); !bytes.Equal(b, again) {
			t.Errorf("%T: %x encodes to %x", m, b, again)
		}
	})
}
