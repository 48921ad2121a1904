package agent

import (
	"encoding/binary"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// Commands of bpf(2) that a walk makes by itself.
const (
	cmdMapLookupElem = 1 // BPF_MAP_LOOKUP_ELEM
	cmdMapGetNextKey = 4 // BPF_MAP_GET_NEXT_KEY
)

// maxWalk bounds the bytes of a walk's reply.
const maxWalk = 1 << 20

// walker iterates over a map, key by key.
type walker struct {
	attr []byte // union bpf_attr: map_fd, key, value or next_key
}

func (w *walker) cmd(cmd uintptr, key, other []byte) unix.Errno {
	binary.NativeEndian.PutUint64(w.attr[8:], 0)
	if key != nil {
		binary.NativeEndian.PutUint64(w.attr[8:], uint64(sys.Address(key)))
	}
	binary.NativeEndian.PutUint64(w.attr[16:], uint64(sys.Address(other)))
	args := [6]uintptr{cmd, sys.Address(w.attr), uintptr(len(w.attr))}
	_, errno := sys.Call(numbers[wire.SysBPF], &args, [][]byte{w.attr, key, other})
	return errno
}

// walk returns the entries after a key. An entry that vanishes between the
// calls for its key and its value is left out.
func (s *session) walk(req *wire.Walk) *wire.WalkReply {
	fd, ok := s.fds.get(req.Map)
	if !ok {
		return &wire.WalkReply{Errno: uint32(unix.EBADF)}
	}
	if req.KeySize == 0 { // a walk that gets nowhere
		return &wire.WalkReply{Errno: uint32(unix.EINVAL)}
	}
	if req.KeySize > maxWalk || req.ValueSize > wire.MaxBody/2 {
		return &wire.WalkReply{Errno: uint32(unix.E2BIG)}
	}
	w := walker{attr: make([]byte, 32)}
	binary.NativeEndian.PutUint32(w.attr, uint32(fd))
	next, value := alloc(int(req.KeySize)), alloc(int(req.ValueSize))
	var key []byte
	if len(req.After) > 0 {
		key = append(alloc(0), req.After...)
	}
	reply := &wire.WalkReply{}
	for reply.Count < req.Max && len(reply.Keys)+len(reply.Values) < maxWalk {
		if e := w.cmd(cmdMapGetNextKey, key, next); e != 0 {
			reply.Errno = uint32(e)
			break
		}
		key = append(key[:0], next...)
		if req.ValueSize > 0 {
			if e := w.cmd(cmdMapLookupElem, key, value); e == unix.ENOENT {
				continue
			} else if e != 0 {
				reply.Errno = uint32(e)
				break
			}
			reply.Values = append(reply.Values, value...)
		}
		reply.Keys = append(reply.Keys, key...)
		reply.Count++
	}
	return reply
}
