package agent

import (
	"maps"
	"reflect"
	"slices"

	"bpfd/internal/wire"
)

// source makes values of bytes; when they are used up all is zero.
type source struct{ b []byte }

func (s *source) next() byte {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

// limits are numbers at which something may change.
var limits = []uint64{0, 1, 4, 8, 4088, 4096, 1 << 16, 1<<16 + 8, most, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 62, 1 << 63, 1<<64 - 8, 1<<64 - 1}

func (s *source) number() uint64 {
	c := int(s.next())
	if c < len(limits) {
		return limits[c]
	}
	return uint64(c - len(limits))
}

// paths are of what furnish makes, and of what there is not.
var paths = []string{"a", "fifo", "kprobe_events", "tracing/instances/x", "/", "", "new", "new/file", "../../a", "a\x00b", fdinfo + "1", fdinfo + "999"}

// fill gives a value what the bytes say.
func (s *source) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			s.fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), int(s.next())%32, 32))
		for i := range v.Len() {
			s.fill(v.Index(i))
		}
	case reflect.String:
		v.SetString(paths[int(s.next())%len(paths)])
	case reflect.Bool:
		v.SetBool(s.next()%2 == 1)
	case reflect.Int64:
		v.SetInt(int64(s.number()))
	case reflect.Uint32:
		if v.Type() == reflect.TypeFor[wire.Handle]() {
			v.SetUint(uint64(s.next() % 16))
			return
		}
		v.SetUint(s.number() & (1<<32 - 1))
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		v.SetUint(s.number() & (1<<v.Type().Bits() - 1))
	}
}

// kinds are the requests that there are.
var kinds = slices.Sorted(maps.Keys(requests))

// requestsOf makes frames of bytes. What the decoder refuses, which has a fuzz
// target of its own, is left out.
func requestsOf(b []byte) []byte {
	var all []byte
	for s := (&source{b}); len(s.b) > 0; {
		kind := kinds[int(s.next())%len(kinds)]
		id := uint32(s.next() % 8)
		req := requests[kind].body()
		s.fill(reflect.ValueOf(req).Elem())
		m := req.(wire.Message)
		if requests[kind].body().Decode(m.Append(nil)) == nil {
			all = wire.AppendFrame(all, kind, id, m)
		}
	}
	return all
}

// seeds are sessions as a host has them, and worse ones.
func seeds() [][]byte {
	const file, fifo, made = 10, 11, 12
	ptr := []wire.Patch{{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: 1}, {Kind: wire.PatchFD, Buf: 0, Off: 4, Ref: made}}
	bufs := []wire.Buf{{Flags: wire.BufIn | wire.BufOut, Len: 48, In: []byte("attributes")}, {Flags: wire.BufOut | wire.BufStr, Len: 16}}
	open := frame{wire.TypeOpen, 1, &wire.Open{Result: file, Flags: wire.OpenRead | wire.OpenWrite, Path: "a"}}
	return [][]byte{
		frames(
			frame{wire.TypeCall, 1, &wire.Call{Sys: wire.SysPerfEventOpen, Result: made, Args: make([]uint64, 5)}},
			frame{wire.TypeCall, 2, &wire.Call{Sys: wire.SysBPF, Flags: wire.CallSlow | wire.CallDrain, Args: make([]uint64, 3), Bufs: bufs, Patches: ptr}},
			frame{wire.TypeClose, 3, &wire.Close{Handles: []wire.Handle{made, made, 99}}},
			frame{wire.TypeInfo, 4, wire.Empty{}}, frame{wire.TypeTrigger, 5, &wire.Trigger{Index: 3}}, frame{wire.TypeAck, 0, &wire.Ack{}},
		),
		frames(
			frame{wire.TypeWalk, 1, &wire.Walk{Map: 1, KeySize: 4, ValueSize: 8, Max: 100}},
			frame{wire.TypeWalk, 2, &wire.Walk{Map: 1, KeySize: 4, Max: 100, After: []byte{1, 2, 3, 4}}},
			frame{wire.TypeMemory, 3, &wire.Memory{Handle: 1, Size: 8000, Words: []wire.Word{{Off: 8, New: 7}}}},
			frame{wire.TypeMemory, 4, &wire.Memory{Handle: 1, Size: 8000}}, frame{wire.TypeMemory, 5, &wire.Memory{Handle: 1}},
			frame{wire.TypeWriteRing, 6, &wire.WriteRing{Handle: 3, Size: 1 << 16, Bytes: make([]byte, 24)}},
		),
		frames(
			frame{wire.TypeStream, 1, &wire.Stream{ID: 1, Kind: wire.StreamRingbuf, Handle: 2, Size: 1 << 16, Credit: 1 << 20}},
			frame{wire.TypeStream, 2, &wire.Stream{ID: 2, Kind: wire.StreamPerf, Handle: 4, Size: 1 << 16, Credit: 1 << 20}},
			frame{wire.TypeCredit, 1, &wire.Credit{Total: 1<<64 - 1}},
			frame{wire.TypeStream, 3, &wire.Stream{ID: 1, Kind: wire.StreamPoll, Handle: 1}},
			frame{wire.TypeCall, 4, &wire.Call{Sys: wire.SysBPF, Flags: wire.CallDrain}},
			frame{wire.TypeClose, 5, &wire.Close{Handles: []wire.Handle{2, 4}}},
		),
		frames(
			open, frame{wire.TypeRead, 2, &wire.Read{Handle: file, Off: 2, Len: 1 << 31}},
			frame{wire.TypeWrite, 3, &wire.Write{Handle: file, Off: 100, Bytes: []byte("more")}},
			frame{wire.TypeMemory, 4, &wire.Memory{Handle: file, Size: 1 << 16}},
			frame{wire.TypeOpen, 5, &wire.Open{Result: fifo, Flags: wire.OpenRead | wire.OpenWrite, Path: "fifo"}},
			frame{wire.TypeRead, 6, &wire.Read{Handle: fifo, Off: wire.NoOffset, Len: 10}}, frame{wire.TypeCancel, 6, wire.Empty{}},
			frame{wire.TypeRead, 7, &wire.Read{Handle: fifo, Off: wire.NoOffset, Len: 10}},
			frame{wire.TypeStream, 8, &wire.Stream{ID: 9, Kind: wire.StreamPoll, Handle: fifo}},
			frame{wire.TypeWrite, 9, &wire.Write{Handle: fifo, Off: wire.NoOffset, Bytes: []byte("text")}},
		),
		frames(
			frame{wire.TypeOpen, 1, &wire.Open{Result: file, Flags: wire.OpenWrite | wire.OpenAppend, Path: "kprobe_events"}},
			frame{wire.TypeWrite, 2, &wire.Write{Handle: file, Off: wire.NoOffset, Bytes: []byte("p:group/more function\n")}},
			frame{wire.TypePathOp, 3, &wire.PathOp{Op: wire.OpMkdir, Path: "tracing/instances/x", Arg: 0o700}},
			frame{wire.TypePathOp, 4, &wire.PathOp{Op: wire.OpSymlink, Path: "link", Path2: "a"}},
			frame{wire.TypeReadlink, 5, &wire.Path{Path: "link"}}, frame{wire.TypeStat, 6, &wire.Path{Path: "link", Follow: true}},
			frame{wire.TypeReadDir, 7, &wire.Path{Path: "/", Follow: true}}, frame{wire.TypeStatfs, 8, &wire.Path{Path: "a"}},
			frame{wire.TypeOpen, 9, &wire.Open{Result: file, Flags: wire.OpenRead, Snapshot: 100, Path: fdinfo + "1"}},
			frame{wire.TypePathOp, 10, &wire.PathOp{Op: wire.OpTruncate, Path: "a", Arg: 1 << 62}},
		),
		append(frames(open), 1, 0, 0, 0, byte(wire.TypeData), 0, 0, 0, 7, 0, 0, 0, 99),
	}
}
