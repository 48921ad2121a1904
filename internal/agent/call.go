package agent

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// numbers are this architecture's numbers of the calls a host may ask for.
var numbers = [...]uintptr{
	wire.SysBPF:              unix.SYS_BPF,
	wire.SysPerfEventOpen:    unix.SYS_PERF_EVENT_OPEN,
	wire.SysIoctl:            unix.SYS_IOCTL,
	wire.SysPidfdOpen:        unix.SYS_PIDFD_OPEN,
	wire.SysKill:             unix.SYS_KILL,
	wire.SysNameToHandle:     unix.SYS_NAME_TO_HANDLE_AT,
	wire.SysSchedGetaffinity: unix.SYS_SCHED_GETAFFINITY,
	wire.SysRead:             unix.SYS_READ,
	wire.SysPrlimit:          unix.SYS_PRLIMIT64,
}

// badFD is a descriptor number that no process has: calls on handles which the
// session does not hold fail with EBADF as the kernel says it.
const badFD = 1<<31 - 2

// call runs a system call: it lays out the buffers, patches them, calls, and
// returns what the kernel wrote.
func (s *session) call(req *wire.Call) *wire.CallReply {
	bufs := make([][]byte, len(req.Bufs))
	for i, b := range req.Bufs {
		bufs[i] = alloc(int(b.Len))
		copy(bufs[i], b.In)
	}
	var args [wire.MaxArgs]uintptr
	for i, a := range req.Args {
		args[i] = uintptr(a)
	}
	for _, p := range req.Patches {
		s.patch(p, &args, bufs)
	}
	ret, errno := sys.Call(numbers[req.Sys], &args, bufs)
	if req.Flags&wire.CallDrain != 0 {
		s.streams.drainAll()
	}
	reply := &wire.CallReply{Ret: int64(ret), Errno: uint32(errno)}
	if errno != 0 {
		reply.Ret = -1
	} else if req.Result != 0 {
		unix.CloseOnExec(int(ret))
		s.fds.put(req.Result, int(ret))
		reply.Link = link(int(ret))
	}
	if errno == 0 || req.Flags&wire.CallKeepOnError != 0 {
		reply.Out = collect(req.Bufs, bufs)
	}
	size := 0
	for _, b := range reply.Out {
		size += 4 + len(b)
	}
	if size > maxReply {
		s.fds.close(req.Result)
		return &wire.CallReply{Ret: -1, Errno: uint32(unix.EMSGSIZE)}
	}
	return reply
}

// maxReply leaves room for the rest of a reply in its frame.
const maxReply = wire.MaxBody - 4<<10

// alloc returns zeroed memory with an address, even for no bytes.
func alloc(n int) []byte { return make([]byte, n, max(n, 8)) }

func (s *session) patch(p wire.Patch, args *[wire.MaxArgs]uintptr, bufs [][]byte) {
	if p.Kind == wire.PatchPtr {
		v := sys.Address(bufs[p.Ref])
		if p.Buf == wire.PatchArg {
			args[p.Off] = v
		} else {
			binary.NativeEndian.PutUint64(bufs[p.Buf][p.Off:], uint64(v))
		}
		return
	}
	fd, ok := s.fds.get(wire.Handle(p.Ref))
	if !ok {
		fd = badFD
	}
	if p.Kind == wire.PatchPath && p.Ref == 0 {
		fd = unix.AT_FDCWD
	}
	if p.Buf == wire.PatchArg {
		args[p.Off] = uintptr(fd)
	} else {
		binary.NativeEndian.PutUint32(bufs[p.Buf][p.Off:], uint32(fd))
	}
}

// collect returns the out-buffers without what the host knows anyway: zeros at
// the end, or what follows a string.
func collect(want []wire.Buf, bufs [][]byte) [][]byte {
	var out [][]byte
	for i, b := range want {
		if b.Flags&wire.BufOut == 0 {
			continue
		}
		data := bufs[i]
		if b.Flags&wire.BufStr != 0 {
			if n := bytes.IndexByte(data, 0); n >= 0 {
				data = data[:n+1]
			}
		} else {
			data = trimZeros(data)
		}
		out = append(out, data)
	}
	return out
}

func trimZeros(b []byte) []byte {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return b[:n]
}

// link returns what a descriptor of ours is.
func link(fd int) string {
	var b [256]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}
