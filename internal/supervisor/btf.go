package supervisor

import (
	"math"
	"sync"

	"bpfd/internal/abi"
	"bpfd/internal/kernel"
	"bpfd/internal/marshal"

	"golang.org/x/sys/unix"
)

// A file that stands in for the type information of a kernel that has none is
// shown where the kernel would show it, and as a BTF object: bpftrace looks
// for the one named vmlinux among all. It exists here only. Programs that
// refer to it are loaded by a kernel that knows nothing of it, and fail as they
// must: fentry, for one.

// standInID is the id of the object, behind all that a kernel gives.
const standInID = math.MaxInt32

// standIns are the files that are shown if the target lacks them.
func (s *Supervisor) standIns() map[string][]byte {
	if s.opts.BTF == nil {
		return nil
	}
	return map[string][]byte{kernel.BTFPath: s.opts.BTF}
}

// shownBTF is what is shown of the target's own type information if that is
// not what it has.
func (s *Supervisor) shownBTF() map[string]func() []byte {
	if s.opts.ShownBTF == nil {
		return nil
	}
	return map[string]func() []byte{kernel.BTFPath: sync.OnceValue(func() []byte { return s.opts.ShownBTF(s.kernel.BTF()) })}
}

// standInBTF answers the commands that find and read the object.
func (s *Supervisor) standInBTF(v *view, cmd uint32) (answer, bool) {
	if s.opts.BTF == nil {
		return answer{}, false
	}
	attr := make([]byte, min(v.r.Args[2], 16))
	if len(attr) < 8 || v.r.thread.ReadAt(v.r.Args[1], attr) != nil {
		return answer{}, false
	}
	first := le.Uint32(attr)
	switch cmd {
	case abi.BPF_BTF_GET_NEXT_ID:
		return s.nextBTF(v, first)
	case abi.BPF_BTF_GET_FD_BY_ID:
		if first == standInID {
			o := &object{Object: marshal.Object{Handle: s.target.NewHandle(), Kind: abi.KindBTF}, name: "anon_inode:btf", standIn: true}
			return s.place(v.r, o, true), true
		}
	case abi.BPF_OBJ_GET_INFO_BY_FD:
		if o := v.lookup(int(int32(first))); o != nil && o.standIn && len(attr) == 16 {
			return s.standInInfo(v.r, attr), true
		}
	}
	return answer{}, false
}

// nextBTF puts the object behind those of the target.
func (s *Supervisor) nextBTF(v *view, start uint32) (answer, bool) {
	if start >= standInID {
		return fail(unix.ENOENT), true
	}
	req, errno := s.marshal.BPF(v.r.thread, v, abi.BPF_BTF_GET_NEXT_ID, v.r.Args[1], uint32(v.r.Args[2]))
	if errno != 0 {
		return fail(errno), true
	}
	a := s.run(v.r, req, true)
	// EINVAL: a kernel before 5.4, which has no such command.
	if a.errno != unix.ENOENT && a.errno != unix.EINVAL {
		return a, true
	}
	if v.r.thread.WriteAt(v.r.Args[1]+4, le.AppendUint32(nil, standInID)) != nil {
		return fail(unix.EFAULT), true
	}
	return value(0), true
}

// standInInfo fills struct bpf_btf_info as btf_get_info_by_fd of
// kernel/bpf/btf.c does.
func (s *Supervisor) standInInfo(r *request, attr []byte) answer {
	const infoLen = 32
	info := make([]byte, infoLen)
	size, addr := le.Uint32(attr[4:]), le.Uint64(attr[8:])
	given := info[:min(size, infoLen)]
	if r.thread.ReadAt(addr, given) != nil {
		return fail(unix.EFAULT)
	}
	data, room := le.Uint64(info), le.Uint32(info[8:])
	name, nameRoom := le.Uint64(info[16:]), le.Uint32(info[24:])
	if (name == 0) != (nameRoom == 0) {
		return fail(unix.EINVAL)
	}
	if n := min(int(room), len(s.opts.BTF)); n > 0 && r.thread.WriteAt(data, s.opts.BTF[:n]) != nil {
		return fail(unix.EFAULT)
	}
	result := value(0)
	text := []byte("vmlinux\x00")
	le.PutUint32(info[8:], uint32(len(s.opts.BTF)))
	le.PutUint32(info[12:], standInID)
	le.PutUint32(info[24:], uint32(len(text)-1))
	le.PutUint32(info[28:], 1) // kernel_btf
	if nameRoom > 0 && int(nameRoom) < len(text) {
		text = append(text[:nameRoom-1], 0)
		result = fail(unix.ENOSPC)
	}
	if name != 0 && r.thread.WriteAt(name, text) != nil || r.thread.WriteAt(addr, given) != nil ||
		r.thread.WriteAt(r.Args[1]+4, le.AppendUint32(nil, uint32(len(given)))) != nil {
		return fail(unix.EFAULT)
	}
	return result
}
