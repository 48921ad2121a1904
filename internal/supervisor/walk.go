package supervisor

import (
	"time"

	"bpfd/internal/abi"
	"bpfd/internal/marshal"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// A tool that prints a map asks for one key after another, looks each up, and
// often deletes it. One round trip each is not only slow: while probes insert
// faster than the tool deletes, it never ends. So the target walks the map by
// itself, and the tool's calls are served from what it found: a next key stays
// known when the key before it is deleted, and deletes are not waited for.

const (
	// firstChunk is how many entries are fetched at first, for a tool which
	// may want one only; each chunk is walkGrowth times as large as the one
	// before, up to lastChunk.
	firstChunk = 64
	walkGrowth = 8
	lastChunk  = 4096
	// walkIdle is how long after the last call of a walk its values are taken
	// for new, and walkAge how long after they were fetched.
	walkIdle = 100 * time.Millisecond
	walkAge  = 2 * time.Second
	// maxRestarts is how often a walk may begin anew. The kernel begins anew
	// after a key that is gone, and could do so forever.
	maxRestarts = 8
)

// entry is a walked key.
type entry struct {
	key     []byte
	value   []byte // nil once it was looked up
	deleted bool
}

// walkState is a walk over a map. Only the thread that receives calls uses it.
type walkState struct {
	entries  []entry
	index    map[string]int
	after    []byte // the last key that the target found, or the tool's first one
	done     bool
	restarts int
	chunk    uint32
	pending  []byte // the last key, which the tool has deleted
	deletes  bool   // the target has deleted a key when it was waited for
	fetched  time.Time
	used     time.Time
	runs     uint64 // programs that the tool had run when the values were fetched
}

// walkCommands are the commands which a walk serves.
var walkCommands = map[uint32]func(*Supervisor, *request, *object, []byte) (answer, bool){
	abi.BPF_MAP_GET_NEXT_KEY: (*Supervisor).nextKey,
	abi.BPF_MAP_LOOKUP_ELEM:  (*Supervisor).walkLookup,
	abi.BPF_MAP_DELETE_ELEM:  (*Supervisor).walkDelete,
}

// writes are the commands which change a map, by the offset of its descriptor:
// they end walks over it.
var writes = map[uint32]int{
	abi.BPF_MAP_UPDATE_ELEM: 0, abi.BPF_MAP_LOOKUP_AND_DELETE_ELEM: 0,
	abi.BPF_MAP_UPDATE_BATCH: 36, abi.BPF_MAP_DELETE_BATCH: 36, abi.BPF_MAP_LOOKUP_AND_DELETE_BATCH: 36,
}

// walkAttr is how many bytes of union bpf_attr those commands use.
const walkAttr = 56

// walk answers a call from a walk, if it can.
func (s *Supervisor) walk(v *view, cmd uint32) (answer, bool) {
	r := v.r
	serve := walkCommands[cmd]
	off, write := writes[cmd]
	if serve == nil && (!write || len(s.walks) == 0) {
		return answer{}, false
	}
	attr := make([]byte, min(r.Args[2], walkAttr))
	if len(attr) < off+4 || r.thread.ReadAt(r.Args[1], attr) != nil {
		return answer{}, false
	}
	o := v.lookup(int(int32(le.Uint32(attr[off:]))))
	if o == nil || o.Map == nil {
		return answer{}, false
	}
	if o.walk == nil && len(s.walks) > 0 {
		s.endTwins(o)
	}
	if write {
		s.endWalk(o)
		return answer{}, false
	}
	if abi.MapTypeOf(o.Map.Type).NoWalk || len(attr) < int(abi.Commands[cmd].Size) || r.Args[2] > walkAttr {
		return answer{}, false
	}
	return serve(s, r, o, attr)
}

// endTwins ends the walks of other objects which may be the same map.
func (s *Supervisor) endTwins(o *object) {
	for w := range s.walks {
		if *w.Map == *o.Map {
			s.endWalk(w)
		}
	}
}

// endWalk forgets a walk, after a delete that was held back.
func (s *Supervisor) endWalk(o *object) {
	if o.walk != nil {
		s.settleDelete(o)
		o.walk = nil
		delete(s.walks, o)
	}
}

// beginWalk starts a walk after a key, at the beginning if that is nil.
func (s *Supervisor) beginWalk(o *object, after []byte) {
	s.endWalk(o)
	o.walk = &walkState{index: make(map[string]int), after: after, chunk: firstChunk}
	s.walks[o] = true
}

// key reads the key of a call, nil if there is none that can be read.
func (s *Supervisor) key(r *request, o *object, attr []byte) []byte {
	key := make([]byte, o.Map.KeySize)
	if p := le.Uint64(attr[8:]); p == 0 || r.thread.ReadAt(p, key) != nil {
		return nil
	}
	return key
}

func (s *Supervisor) nextKey(r *request, o *object, attr []byte) (answer, bool) {
	next := 0
	if le.Uint64(attr[8:]) == 0 {
		s.beginWalk(o, nil)
	} else {
		key := s.key(r, o, attr)
		if key == nil {
			return answer{}, false
		}
		i, ok := -1, false
		if o.walk != nil {
			i, ok = o.walk.index[string(key)]
		}
		if !ok {
			s.beginWalk(o, key)
			i = -1
		}
		next = i + 1
	}
	w := o.walk
	for next == len(w.entries) && !w.done {
		if !s.fetch(o) {
			s.endWalk(o)
			return answer{}, false
		}
	}
	if next >= len(w.entries) {
		s.endWalk(o)
		return fail(unix.ENOENT), true
	}
	w.used = time.Now()
	if r.thread.WriteAt(le.Uint64(attr[16:]), w.entries[next].key) != nil {
		return fail(unix.EFAULT), true
	}
	return value(0), true
}

// fetch gets the entries after those that are known. Where the kernel has
// begun anew, those are passed over.
func (s *Supervisor) fetch(o *object) bool {
	w := o.walk
	req := wire.Walk{Map: o.Handle, KeySize: o.Map.KeySize, ValueSize: s.marshal.ValueSize(o.Map), Max: w.chunk, After: w.after}
	runs := s.runs.Load()
	var reply wire.WalkReply
	if s.target.Do(wire.TypeWalk, &req, &reply) != nil {
		return false
	}
	errno := unix.Errno(reply.Errno)
	ks, vs := int(req.KeySize), int(req.ValueSize)
	if errno != 0 && errno != unix.ENOENT || len(reply.Keys) != int(reply.Count)*ks || len(reply.Values) != int(reply.Count)*vs {
		return false
	}
	again := false
	for i := range int(reply.Count) {
		key := reply.Keys[i*ks : (i+1)*ks]
		w.after = key
		if _, known := w.index[string(key)]; known {
			again = true
			continue
		}
		w.index[string(key)] = len(w.entries)
		w.entries = append(w.entries, entry{key: key, value: reply.Values[i*vs : (i+1)*vs]})
	}
	if again {
		w.restarts++
	}
	w.done = errno == unix.ENOENT || reply.Count == 0 || w.restarts > maxRestarts
	w.chunk = min(w.chunk*walkGrowth, lastChunk)
	w.fetched, w.runs = time.Now(), runs
	s.settleDelete(o)
	return true
}

// walkLookup serves the value of a walked key, once: who asks again wants to
// know what it is now.
func (s *Supervisor) walkLookup(r *request, o *object, attr []byte) (answer, bool) {
	w := o.walk
	if w == nil || le.Uint64(attr[24:]) != 0 {
		return answer{}, false
	}
	key := s.key(r, o, attr)
	i, ok := w.index[string(key)]
	if key == nil || !ok {
		return answer{}, false
	}
	e := &w.entries[i]
	if e.deleted {
		s.settleDelete(o)
	}
	now := time.Now()
	if e.value == nil || now.Sub(w.used) > walkIdle || now.Sub(w.fetched) > walkAge || w.runs != s.runs.Load() {
		return answer{}, false
	}
	w.used = now
	if r.thread.WriteAt(le.Uint64(attr[16:]), e.value) != nil {
		return fail(unix.EFAULT), true
	}
	e.value = nil
	return value(0), true
}

// walkDelete deletes a walked key without waiting, after one for which it did:
// the map may not allow it. That of the last known key is held back until the
// keys after it are known.
func (s *Supervisor) walkDelete(r *request, o *object, attr []byte) (answer, bool) {
	w := o.walk
	if w == nil {
		return answer{}, false
	}
	key := s.key(r, o, attr)
	i, ok := w.index[string(key)]
	if key == nil || !ok {
		return answer{}, false
	}
	e := &w.entries[i]
	if e.deleted {
		s.settleDelete(o)
		return answer{}, false // a second time: the target knows
	}
	if w.deletes && i == len(w.entries)-1 && !w.done {
		w.pending = key
	} else if a := s.deleteKey(o, key); a.errno != 0 {
		return a, true
	}
	w.used = time.Now()
	e.value, e.deleted = nil, true
	return value(0), true
}

func (s *Supervisor) settleDelete(o *object) {
	if key := o.walk.pending; key != nil {
		o.walk.pending = nil
		s.deleteKey(o, key)
	}
}

// deleteKey has the target delete a key; it waits the first time.
func (s *Supervisor) deleteKey(o *object, key []byte) answer {
	c := marshal.DeleteCall(o.Handle, key)
	if o.walk.deletes {
		s.target.Post(wire.TypeCall, c)
		return value(0)
	}
	a := s.simple(c)
	o.walk.deletes = a.errno == 0
	return a
}
