package text

import (
	"encoding/binary"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// bpf makes a bpf(2) call. What attr has addresses of has to be in keep.
func bpf(cmd int, attr []byte, keep ...[]byte) (int, error) {
	call := [6]uintptr{uintptr(cmd), sys.Address(attr), uintptr(len(attr))}
	r, errno := sys.Call(unix.SYS_BPF, &call, keep)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// attr builds a union bpf_attr, include/uapi/linux/bpf.h, field by field.
type attr []byte

func (a *attr) u32(vs ...uint32) {
	for _, v := range vs {
		*a = binary.NativeEndian.AppendUint32(*a, v)
	}
}

func (a *attr) u64(vs ...uint64) {
	for _, v := range vs {
		*a = binary.NativeEndian.AppendUint64(*a, v)
	}
}

// ptr appends the address of b, 0 if it is nil.
func (a *attr) ptr(b []byte) {
	if b == nil {
		a.u64(0)
		return
	}
	a.u64(uint64(sys.Address(b)))
}

// name appends an object's name, of which the kernel takes 15 bytes.
func (a *attr) name(name string) {
	var b [unix.BPF_OBJ_NAME_LEN]byte
	copy(b[:len(b)-1], name)
	*a = append(*a, b[:]...)
}

// refusesName says whether an error may come from a name: kernels before 4.15
// know none and refuse bytes that they do not know.
func refusesName(err error) bool { return err == unix.EINVAL || err == unix.E2BIG }

// cString returns s with a NUL at its end.
func cString(s string) []byte { return append([]byte(s), 0) }
