package text

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// batchBytes is about how many bytes of entries are asked for at once.
const batchBytes = 256 << 10

func firstKey(s *session, a *args) { s.firstKey(a, -1) }
func firstKeyDump(s *session, a *args) {
	s.firstKey(a, a.int(2))
}
func firstKeyMaybe(s *session, a *args) {
	if a.int(3) == 0 {
		s.firstKey(a, -1)
		return
	}
	s.firstKey(a, a.int(2))
}

// firstKey answers the first key, or with a size of values all keys and values,
// each on a line of its own, and an empty line.
func (s *session) firstKey(a *args, size int) {
	const label = "bpf_get_first_key"
	o, err := s.sized(a)
	if err == nil && size < 0 {
		var key []byte
		if key, err = o.next(nil); err == nil {
			s.value64(key)
			return
		}
	} else if err == nil {
		var n int
		n, err = s.dump(o, size, unix.BPF_MAP_LOOKUP_BATCH, '\n')
		if n > 0 {
			s.out.line("\n")
			return
		}
		if err == nil {
			err = unix.ENOENT
		}
	}
	s.fail(label, err)
}

// sized returns the map of a command that gives the size of its keys.
func (s *session) sized(a *args) (*object, error) {
	o, err := s.objects.mapOf(a.int(0))
	if err == nil && a.int(1) != o.m.keySize {
		err = errKeySize(a.int(1), o.m.keySize)
	}
	return o, err
}

// dump answers all entries and returns how many there are.
func (s *session) dump(o *object, size, cmd int, separator byte) (n int, err error) {
	if size < o.m.valueSize || size > MaxLine {
		return 0, errValueSize(size, o.m.valueSize)
	}
	more := make([]byte, size-o.m.valueSize)
	err = o.walk(cmd, func(key, value []byte) {
		s.out.b = append(encode(s.out.b, key), separator)
		if len(more) > 0 {
			value = append(value[:len(value):len(value)], more...)
		}
		s.value64(value)
		n++
	})
	return n, err
}

func dumpMap(s *session, a *args) { s.dumpPairs(a, unix.BPF_MAP_LOOKUP_BATCH) }

func dumpAndClear(s *session, a *args) { s.dumpPairs(a, unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH) }

// dumpPairs answers an entry a line.
func (s *session) dumpPairs(a *args, cmd int) {
	o, err := s.objects.mapOf(a.int(0))
	if err == nil && cmd == unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH && undeletable[o.m.kind] {
		err = fmt.Errorf("entries of an array cannot be deleted: %w", unix.EINVAL)
	}
	if err == nil {
		_, err = s.dump(o, o.m.valueSize, cmd, ' ')
	}
	if err != nil {
		s.fail("bpf_dump_map", err)
	}
}

func clearMap(s *session, a *args) {
	o, err := s.sized(a)
	if err != nil {
		s.fail("bpf_clear_map", err)
		return
	}
	// Keys first: a walk begins anew when the key it stands at is deleted, and
	// would not end while programs insert.
	var keys []byte
	err = o.walk(unix.BPF_MAP_LOOKUP_BATCH, func(key, _ []byte) { keys = append(keys, key...) })
	n := 0
	for ; err == nil && len(keys) > 0; keys = keys[o.m.keySize:] {
		err = o.element(unix.BPF_MAP_DELETE_ELEM, keys[:o.m.keySize:o.m.keySize], nil, 0)
		switch err {
		case nil:
			n++
		case unix.ENOENT:
			err = nil
		}
	}
	if err != nil {
		s.fail("bpf_clear_map", err)
		return
	}
	s.ret("bpf_clear_map", int64(n))
}

// deleteBatch deletes keys that are given one after the other, and answers how
// many of them were there.
func deleteBatch(s *session, a *args) {
	const label = "bpf_delete_batch"
	o, err := s.objects.mapOf(a.int(0))
	if err != nil {
		s.fail(label, err)
		return
	}
	n := 0
	for w, rest := word(a.rest); len(w) > 0; w, rest = word(rest) {
		key, err := o.key(w, o.m.keySize)
		if err == nil {
			err = o.element(unix.BPF_MAP_DELETE_ELEM, key, nil, 0)
		}
		if err != nil && err != unix.ENOENT {
			s.fail(label, fmt.Errorf("after %d keys: %w", n, err))
			return
		}
		if err == nil {
			n++
		}
	}
	s.ret(label, int64(n))
}

// errNoBatch means that the kernel has no batch commands for a map.
var errNoBatch = errors.New("no batch commands")

// walk calls emit for each entry. cmd is the batch command, which may delete
// what it returns; without batch commands the same is done key by key.
func (o *object) walk(cmd int, emit func(key, value []byte)) error {
	err := o.walkBatches(cmd, emit)
	if err != errNoBatch {
		return err
	}
	if cmd == unix.BPF_MAP_LOOKUP_BATCH {
		return o.walkKeys(emit)
	}
	var keys []byte
	err = o.walkKeys(func(key, value []byte) {
		emit(key, value)
		keys = append(keys, key...)
	})
	for ; err == nil && len(keys) > 0; keys = keys[o.m.keySize:] {
		err = o.element(unix.BPF_MAP_DELETE_ELEM, keys[:o.m.keySize:o.m.keySize], nil, 0)
		if err == unix.ENOENT {
			err = nil
		}
	}
	return err
}

// walkBatches uses BPF_MAP_LOOKUP_BATCH and its like, of Linux 5.6.
func (o *object) walkBatches(cmd int, emit func(key, value []byte)) error {
	k, v := o.m.keySize, o.m.valueSize
	count := min(max(batchBytes/max(k+v, 1), 16), max(o.m.maximum, 1))
	keys, values := make([]byte, count*k), make([]byte, count*v)
	var from []byte
	for first := true; ; first = false {
		to := make([]byte, max(k, 8))
		var a attr
		a.ptr(from)
		a.ptr(to)
		a.ptr(keys)
		a.ptr(values)
		a.u32(uint32(count), uint32(o.fd))
		a.u64(0, 0)
		_, err := bpf(cmd, a, from, to, keys, values)
		if err == unix.ENOSPC && count < 1<<20 { // less than a bucket of the hash
			count *= 2
			keys, values = make([]byte, count*k), make([]byte, count*v)
			continue
		}
		if err != nil && err != unix.ENOENT {
			if first {
				return errNoBatch
			}
			return err
		}
		for i := range int(binary.NativeEndian.Uint32(a[32:])) {
			emit(keys[i*k:(i+1)*k], values[i*v:(i+1)*v])
		}
		if err == unix.ENOENT {
			return nil
		}
		from = to
	}
}

// walkKeys goes from key to key. The kernel begins anew after a key that has
// been deleted meanwhile: no entry is emitted twice. The walk ends when as many
// steps as there can be entries found none that is new, or when entries are
// made as fast as they are deleted.
func (o *object) walkKeys(emit func(key, value []byte)) error {
	done := make(map[string]bool)
	value := make([]byte, o.m.valueSize)
	var key []byte
	for idle := 0; idle <= o.m.maximum && len(done) <= 2*o.m.maximum; idle++ {
		next, err := o.next(key)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return err
		}
		key = next
		if done[string(key)] {
			continue
		}
		// An entry that is gone, or cannot be read, as those of a program array.
		if o.element(unix.BPF_MAP_LOOKUP_ELEM, key, value, 0) != nil {
			continue
		}
		done[string(key)] = true
		idle = 0
		emit(key, value)
	}
	return nil
}
