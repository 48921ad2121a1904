package supervisor

import (
	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// A tool that prints a map asks for one key after another, looks each up, and
// often deletes it. One round trip each is not only slow: while probes insert
// faster than the tool deletes, it never ends. So the target walks the map by
// itself, and the tool's calls are served from what it found: a next key stays
// known when the key before it is deleted, and deletes are not waited for.

// walkChunk is how many entries are fetched at a time.
const walkChunk = 4096

// walkState is a walk over a map. Only the thread that receives calls uses it.
type walkState struct {
	keys    [][]byte
	values  [][]byte // nil once it was looked up
	index   map[string]int
	done    bool
	pending []byte // the last key, which the tool has deleted
}

// walkCommands are the commands which a walk serves, by the offset of the key.
var walkCommands = map[uint32]func(*Supervisor, *request, *object, []byte) (answer, bool){
	abi.BPF_MAP_GET_NEXT_KEY: (*Supervisor).nextKey,
	abi.BPF_MAP_LOOKUP_ELEM:  (*Supervisor).walkLookup,
	abi.BPF_MAP_DELETE_ELEM:  (*Supervisor).walkDelete,
}

// walk answers a call from a walk, if it can. Other commands on the map end it.
func (s *Supervisor) walk(v *view, cmd uint32) (answer, bool) {
	r := v.r
	serve := walkCommands[cmd]
	if serve == nil && (cmd != abi.BPF_MAP_UPDATE_ELEM) {
		return answer{}, false
	}
	attr := make([]byte, min(r.Args[2], 32))
	if len(attr) < 16 || r.thread.ReadAt(r.Args[1], attr) != nil {
		return answer{}, false
	}
	o := v.lookup(int(int32(le.Uint32(attr))))
	if o == nil || o.Map == nil || abi.MapTypeOf(o.Map.Type).NoWalk {
		return answer{}, false
	}
	if serve == nil {
		s.endWalk(o)
		return answer{}, false
	}
	return serve(s, r, o, attr)
}

// endWalk forgets a walk, after a delete that was held back.
func (s *Supervisor) endWalk(o *object) {
	if o.walk != nil {
		s.settleDelete(o)
		o.walk = nil
	}
}

func (s *Supervisor) key(r *request, o *object, attr []byte) []byte {
	key := make([]byte, o.Map.KeySize)
	if r.thread.ReadAt(le.Uint64(attr[8:]), key) != nil {
		return nil
	}
	return key
}

func (s *Supervisor) nextKey(r *request, o *object, attr []byte) (answer, bool) {
	if len(attr) < 24 {
		return answer{}, false
	}
	next := 0
	if le.Uint64(attr[8:]) == 0 {
		s.endWalk(o)
		o.walk = &walkState{index: make(map[string]int)}
	} else {
		key := s.key(r, o, attr)
		if key == nil || o.walk == nil {
			return answer{}, false
		}
		i, ok := o.walk.index[string(key)]
		if !ok {
			s.endWalk(o)
			return answer{}, false
		}
		next = i + 1
	}
	if next == len(o.walk.keys) && !o.walk.done && !s.fetch(o) {
		o.walk = nil
		return answer{}, false
	}
	if next >= len(o.walk.keys) {
		s.endWalk(o)
		return fail(unix.ENOENT), true
	}
	if r.thread.WriteAt(le.Uint64(attr[16:]), o.walk.keys[next]) != nil {
		return fail(unix.EFAULT), true
	}
	return value(0), true
}

// fetch gets the entries after those that are known.
func (s *Supervisor) fetch(o *object) bool {
	w := o.walk
	req := wire.Walk{Map: o.Handle, KeySize: o.Map.KeySize, ValueSize: s.marshal.ValueSize(o.Map), Max: walkChunk}
	if n := len(w.keys); n > 0 {
		req.After = w.keys[n-1]
	}
	var reply wire.WalkReply
	if s.target.Do(wire.TypeWalk, &req, &reply) != nil {
		return false
	}
	errno := unix.Errno(reply.Errno)
	ks, vs := int(req.KeySize), int(req.ValueSize)
	if errno != 0 && errno != unix.ENOENT || len(reply.Keys) != int(reply.Count)*ks || len(reply.Values) != int(reply.Count)*vs {
		return false
	}
	for i := range int(reply.Count) {
		key := reply.Keys[i*ks : (i+1)*ks]
		if _, again := w.index[string(key)]; again {
			// The kernel began anew because the last key is gone.
			w.done = true
			break
		}
		w.index[string(key)] = len(w.keys)
		w.keys = append(w.keys, key)
		w.values = append(w.values, reply.Values[i*vs:(i+1)*vs])
	}
	w.done = w.done || errno == unix.ENOENT || reply.Count == 0
	s.settleDelete(o)
	return true
}

// walkLookup serves the value of a walked key, once: who asks again wants to
// know what it is now.
func (s *Supervisor) walkLookup(r *request, o *object, attr []byte) (answer, bool) {
	if o.walk == nil || len(attr) < 24 || len(attr) >= 32 && le.Uint64(attr[24:]) != 0 {
		return answer{}, false
	}
	key := s.key(r, o, attr)
	i, ok := o.walk.index[string(key)]
	if key == nil || !ok || o.walk.values[i] == nil {
		return answer{}, false
	}
	if r.thread.WriteAt(le.Uint64(attr[16:]), o.walk.values[i]) != nil {
		return fail(unix.EFAULT), true
	}
	o.walk.values[i] = nil
	return value(0), true
}

// walkDelete deletes a walked key without waiting. That of the last known key
// is held back until the keys after it are known.
func (s *Supervisor) walkDelete(r *request, o *object, attr []byte) (answer, bool) {
	if o.walk == nil {
		return answer{}, false
	}
	key := s.key(r, o, attr)
	i, ok := o.walk.index[string(key)]
	if key == nil || !ok {
		return answer{}, false
	}
	o.walk.values[i] = nil
	if i == len(o.walk.keys)-1 && !o.walk.done {
		o.walk.pending = key
		return value(0), true
	}
	s.postDelete(o, key)
	return value(0), true
}

func (s *Supervisor) settleDelete(o *object) {
	if key := o.walk.pending; key != nil {
		o.walk.pending = nil
		s.postDelete(o, key)
	}
}

func (s *Supervisor) postDelete(o *object, key []byte) {
	attr := make([]byte, 16)
	s.target.Post(wire.TypeCall, &wire.Call{
		Sys: wire.SysBPF, Args: []uint64{abi.BPF_MAP_DELETE_ELEM, 0, uint64(len(attr))},
		Bufs: []wire.Buf{{Flags: wire.BufIn, Len: uint32(len(attr)), In: attr}, {Flags: wire.BufIn, Len: uint32(len(key)), In: key}},
		Patches: []wire.Patch{
			{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: 1, Ref: 0},
			{Kind: wire.PatchFD, Buf: 0, Off: 0, Ref: uint32(o.Handle)},
			{Kind: wire.PatchPtr, Buf: 0, Off: 8, Ref: 1},
		},
	})
}
