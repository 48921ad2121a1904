package supervisor

import (
	"bytes"
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
	chunk    uint32       // how many entries to ask for
	began    int          // where in entries the last chunk begins
	ahead    <-chan chunk // brings the next one, nil if it was not asked for
	deletes  bool         // the target has deleted a key when it was waited for
	fetched  time.Time
	used     time.Time
	runs     uint64 // programs that the tool had run when the values were fetched
}

// walkCommands are the commands which a walk serves.
var walkCommands = map[uint32]func(*Supervisor, *request, *object, *walkCall) (answer, bool){
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

// walk answers a call from a walk, if it can. Only the thread that receives
// calls may ask.
func (s *Supervisor) walk(r *request) (answer, bool) {
	cmd := uint32(r.Args[0])
	serve := walkCommands[cmd]
	off, write := writes[cmd]
	if serve == nil && !write || len(s.walks) == 0 && cmd != abi.BPF_MAP_GET_NEXT_KEY {
		return answer{}, false
	}
	c := &s.reading
	if !c.read(r, cmd) || len(c.attr) < off+4 {
		return answer{}, false
	}
	o := s.objects.lookup(r, int(int32(le.Uint32(c.attr[off:]))))
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
	if abi.MapTypeOf(o.Map.Type).NoWalk || len(c.attr) < int(abi.Commands[cmd].Size) || r.Args[2] > walkAttr {
		return answer{}, false
	}
	a, ok := serve(s, r, o, c)
	if ok {
		s.traceLocal(r, cmd, a)
	}
	return a, ok
}

// endTwins ends the walks of other objects which may be the same map.
func (s *Supervisor) endTwins(o *object) {
	for w := range s.walks {
		if *w.Map == *o.Map {
			s.endWalk(w)
		}
	}
}

func (s *Supervisor) endWalk(o *object) {
	if o.walk != nil {
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

func (s *Supervisor) nextKey(r *request, o *object, c *walkCall) (answer, bool) {
	next := 0
	if c.keyAt() == 0 {
		s.beginWalk(o, nil)
	} else {
		key := c.key(r, o)
		if key == nil {
			return answer{}, false
		}
		i, ok := -1, false
		if o.walk != nil {
			i, ok = o.walk.index[string(key)]
		}
		if !ok {
			s.beginWalk(o, bytes.Clone(key))
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
	if r.thread.WriteAt(c.resultAt(), w.entries[next].key) != nil {
		return fail(unix.EFAULT), true
	}
	s.askAhead(o, next)
	return value(0), true
}

// chunk is what the target found in one go.
type chunk struct {
	reply wire.WalkReply
	err   error
	runs  uint64    // programs that the tool had run before it was asked for
	asked time.Time // when it was
}

// ask returns what asks the target for the entries after those that are known.
func (s *Supervisor) ask(o *object) func() chunk {
	w := o.walk
	s.catchUp()
	c := chunk{runs: s.runs.Load(), asked: time.Now()}
	req := wire.Walk{Map: o.Handle, KeySize: o.Map.KeySize, ValueSize: s.marshal.ValueSize(o.Map), Max: w.chunk, After: w.after}
	return func() chunk {
		c.err = s.target.Do(wire.TypeWalk, &req, &c.reply)
		return c
	}
}

// askAhead asks for the next chunk when the tool has come halfway through one.
// A tool that deletes what it walks over would find in it what it has deleted
// meanwhile; and the first chunk may be all that a tool wants.
func (s *Supervisor) askAhead(o *object, next int) {
	w := o.walk
	if w.ahead == nil && !w.done && !w.deletes && w.began > 0 && next > (w.began+len(w.entries))/2 {
		ask, ahead := s.ask(o), make(chan chunk, 1)
		s.spawn(func() { ahead <- ask() })
		w.ahead = ahead
	}
}

// fetch gets the entries after those that are known. Where the kernel has
// begun anew, those are passed over.
func (s *Supervisor) fetch(o *object) bool {
	w := o.walk
	var c chunk
	if w.ahead != nil {
		c, w.ahead = <-w.ahead, nil
	} else {
		c = s.ask(o)()
	}
	errno, count := unix.Errno(c.reply.Errno), int(c.reply.Count)
	ks, vs := int(o.Map.KeySize), int(s.marshal.ValueSize(o.Map))
	if c.err != nil || errno != 0 && errno != unix.ENOENT || len(c.reply.Keys) != count*ks || len(c.reply.Values) != count*vs {
		return false
	}
	again := false
	w.began = len(w.entries)
	for i := range count {
		key := c.reply.Keys[i*ks : (i+1)*ks]
		w.after = key
		if _, known := w.index[string(key)]; known {
			again = true
			continue
		}
		w.index[string(key)] = len(w.entries)
		w.entries = append(w.entries, entry{key: key, value: c.reply.Values[i*vs : (i+1)*vs]})
	}
	if again {
		w.restarts++
	}
	w.done = errno == unix.ENOENT || count == 0 || w.restarts > maxRestarts
	w.chunk = min(w.chunk*walkGrowth, lastChunk)
	w.fetched, w.runs = c.asked, c.runs
	return true
}

// walkLookup serves the value of a walked key, once: who asks again wants to
// know what it is now.
func (s *Supervisor) walkLookup(r *request, o *object, c *walkCall) (answer, bool) {
	w := o.walk
	if w == nil || c.flags() != 0 {
		return answer{}, false
	}
	key := c.key(r, o)
	i, ok := w.index[string(key)]
	if key == nil || !ok {
		return answer{}, false
	}
	e := &w.entries[i]
	now := time.Now()
	if e.value == nil || now.Sub(w.used) > walkIdle || now.Sub(w.fetched) > walkAge || w.runs != s.runs.Load() {
		return answer{}, false
	}
	w.used = now
	if r.thread.WriteAt(c.resultAt(), e.value) != nil {
		return fail(unix.EFAULT), true
	}
	e.value = nil
	return value(0), true
}

// walkDelete deletes a walked key without waiting, after one for which it did:
// the map may not allow it. Before the last known key goes, the keys after it
// are fetched: the kernel begins anew after a key that is gone.
func (s *Supervisor) walkDelete(r *request, o *object, c *walkCall) (answer, bool) {
	w := o.walk
	if w == nil {
		return answer{}, false
	}
	key := c.key(r, o)
	i, ok := w.index[string(key)]
	if key == nil || !ok || w.entries[i].deleted { // a second time: the target knows
		w.ahead = nil // it may be in there
		return answer{}, false
	}
	if w.deletes && i == len(w.entries)-1 && !w.done && !s.fetch(o) {
		s.endWalk(o)
		return answer{}, false
	}
	if a := s.deleteKey(o, key); a.errno != 0 {
		return a, true
	}
	w.used = time.Now()
	e := &w.entries[i]
	e.value, e.deleted = nil, true
	return value(0), true
}

// deleteKey has the target delete a key; it waits the first time.
func (s *Supervisor) deleteKey(o *object, key []byte) answer {
	s.catchUp()
	c := marshal.DeleteCall(o.Handle, key)
	if o.walk.deletes {
		s.target.Post(wire.TypeCall, c)
		return value(0)
	}
	a := s.simple(c)
	o.walk.deletes = a.errno == 0
	return a
}
