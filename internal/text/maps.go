package text

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// mapInfo is what a session knows of a map that it has made.
type mapInfo struct {
	kind             int
	keySize, maximum int
	valueSize        int // of what the kernel reads and writes, on all CPUs
}

// perCPU are the types whose values user space sees once for each possible CPU.
var perCPU = map[int]bool{
	unix.BPF_MAP_TYPE_PERCPU_HASH: true, unix.BPF_MAP_TYPE_PERCPU_ARRAY: true,
	unix.BPF_MAP_TYPE_LRU_PERCPU_HASH: true, unix.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: true,
}

// ofDescriptors are the types into which descriptors are stored.
var ofDescriptors = map[int]bool{
	unix.BPF_MAP_TYPE_PROG_ARRAY: true, unix.BPF_MAP_TYPE_PERF_EVENT_ARRAY: true,
	unix.BPF_MAP_TYPE_ARRAY_OF_MAPS: true, unix.BPF_MAP_TYPE_HASH_OF_MAPS: true,
	unix.BPF_MAP_TYPE_CGROUP_ARRAY: true,
}

// undeletable are the types whose entries cannot be deleted.
var undeletable = map[int]bool{unix.BPF_MAP_TYPE_ARRAY: true, unix.BPF_MAP_TYPE_PERCPU_ARRAY: true}

func createMapA(s *session, a *args) {
	s.createMap("", a.int(0), a.u32(1), a.u32(2), a.u32(3), a.u32(4), 0)
}

func createMapB(s *session, a *args) {
	s.createMap(a.name(1), a.int(0), a.u32(2), a.u32(3), a.u32(4), a.u32(5), 0)
}

func createMapInMap(s *session, a *args) {
	inner, err := s.objects.mapOf(a.int(5))
	if err != nil {
		s.fail("bpf_create_map", err)
		return
	}
	s.createMap(a.name(1), a.int(0), a.u32(2), 4, a.u32(3), a.u32(4), inner.fd)
}

func (s *session) createMap(name string, kind int, key, value, maximum, flags uint32, inner int) {
	fd, err := makeMap(name, kind, key, value, maximum, flags, inner)
	if refusesName(err) && name != "" {
		fd, err = makeMap("", kind, key, value, maximum, flags, inner)
	}
	if err != nil {
		s.fail("bpf_create_map", err)
		return
	}
	m := &mapInfo{kind: kind, keySize: int(key), valueSize: int(value), maximum: int(maximum)}
	if perCPU[kind] {
		m.valueSize = (m.valueSize + 7) &^ 7 * possibleCPUs()
	}
	s.ret("bpf_create_map", int64(s.objects.add(&object{fd: fd, m: m})))
}

func makeMap(name string, kind int, key, value, maximum, flags uint32, inner int) (int, error) {
	var a attr
	a.u32(uint32(kind), key, value, maximum)
	if flags != 0 || inner != 0 || name != "" {
		a.u32(flags, uint32(inner), 0) // the NUMA node comes last
	}
	if name != "" {
		a.name(name)
	}
	return bpf(unix.BPF_MAP_CREATE, a)
}

// element makes one of the calls on an entry of a map.
func (o *object) element(cmd int, key, value []byte, flags uint64) error {
	var a attr
	a.u32(uint32(o.fd), 0)
	a.ptr(key)
	a.ptr(value)
	a.u64(flags)
	_, err := bpf(cmd, a, key, value)
	return err
}

// key reads a key, which must have the size of the map's keys.
func (o *object) key(w []byte, size int) ([]byte, error) {
	key, err := decode(w)
	if err == nil && len(key) != o.m.keySize {
		err = errKeySize(len(key), o.m.keySize)
	}
	if err == nil && size != o.m.keySize {
		err = errKeySize(size, o.m.keySize)
	}
	return key, err
}

// mapAndKey returns the map and the key that most commands begin with.
func (s *session) mapAndKey(a *args) (*object, []byte, error) {
	o, err := s.objects.mapOf(a.int(0))
	if err != nil {
		return nil, nil, err
	}
	key, err := o.key(a.words[1], a.int(2))
	return o, key, err
}

func updateElem(s *session, a *args) {
	const label = "bpf_update_elem"
	o, key, err := s.mapAndKey(a)
	var value []byte
	if err == nil {
		value, err = s.value(o, a.words[3], a.int(4))
	}
	if err == nil {
		err = o.element(unix.BPF_MAP_UPDATE_ELEM, key, value, a.u64(5))
	}
	switch {
	case errors.Is(err, errBase64):
		s.last.keep(err)
		s.ret(label, -int64(unix.EINVAL))
	case err == unix.ENOMEM:
		s.last.keep(err)
		s.ret(label, -int64(unix.ENOMEM))
	default:
		s.result(label, err)
	}
}

// value reads a value for a map. What the client knows of the number of CPUs
// may differ from this machine's: more than the kernel reads does no harm.
func (s *session) value(o *object, w []byte, size int) ([]byte, error) {
	value, err := decode(w)
	if err != nil {
		return nil, err
	}
	if len(value) != size || size < o.m.valueSize || size > o.m.valueSize && !perCPU[o.m.kind] {
		return nil, errValueSize(min(len(value), size), o.m.valueSize)
	}
	if !ofDescriptors[o.m.kind] {
		return value, nil
	}
	if len(value) != 4 {
		return nil, errValueSize(len(value), 4)
	}
	num := int(int32(binary.NativeEndian.Uint32(value)))
	fd, err := s.objects.fd(num)
	if err != nil {
		return nil, fmt.Errorf("the value is a descriptor, and %d is none of this session: %w", num, err)
	}
	binary.NativeEndian.PutUint32(value, uint32(fd))
	return value, nil
}

func lookupElem(s *session, a *args) {
	o, key, err := s.mapAndKey(a)
	var value []byte
	if err == nil {
		value, err = o.buffer(a.int(3))
	}
	if err == nil {
		err = o.element(unix.BPF_MAP_LOOKUP_ELEM, key, value, 0)
	}
	if err != nil {
		s.fail("bpf_lookup_elem", err)
		return
	}
	s.value64(value)
}

// buffer returns memory for a value of which the client expects size bytes.
func (o *object) buffer(size int) ([]byte, error) {
	if size < o.m.valueSize || size > MaxLine {
		return nil, errValueSize(size, o.m.valueSize)
	}
	return make([]byte, size), nil
}

// value64 answers a line of base64.
func (s *session) value64(b []byte) {
	s.out.b = append(encode(s.out.b, b), '\n')
	s.out.room()
}

func deleteElem(s *session, a *args) {
	o, key, err := s.mapAndKey(a)
	if err == nil {
		err = o.element(unix.BPF_MAP_DELETE_ELEM, key, nil, 0)
	}
	s.result("bpf_delete_elem", err)
}

func getNextKey(s *session, a *args) {
	o, key, err := s.mapAndKey(a)
	var next []byte
	if err == nil {
		next, err = o.next(key)
	}
	if err != nil {
		s.fail("bpf_get_next_key", err)
		return
	}
	s.value64(next)
}

// next returns the key after key, or the first one after nil.
func (o *object) next(key []byte) ([]byte, error) {
	next := make([]byte, o.m.keySize)
	err := o.element(unix.BPF_MAP_GET_NEXT_KEY, key, next, 0)
	if key != nil || err != unix.EFAULT {
		return next, err
	}
	// Before Linux 4.12 there is no first key, but that after one that is not there.
	for _, fill := range []byte{0, 0xff, 0x55} {
		guess := make([]byte, o.m.keySize)
		for i := range guess {
			guess[i] = fill
		}
		value := make([]byte, o.m.valueSize)
		if o.element(unix.BPF_MAP_LOOKUP_ELEM, guess, value, 0) == unix.ENOENT {
			return next, o.element(unix.BPF_MAP_GET_NEXT_KEY, guess, next, 0)
		}
	}
	return nil, unix.EFAULT
}
