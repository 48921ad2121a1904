package supervisor

import (
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"bpfd/internal/abi"
	"bpfd/internal/marshal"
	"bpfd/internal/remotefs"
	"bpfd/internal/tracee"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// utsField is the size of a field of struct new_utsname.
const utsField = 65

// uname answers uname(2) with the target's names.
func (s *Supervisor) uname(r *request) answer {
	i := &s.target.Welcome.Info
	b := make([]byte, 6*utsField)
	for k, v := range []string{i.Sysname, i.Nodename, i.Release, i.Version, i.Machine, i.Domain} {
		copy(b[k*utsField:(k+1)*utsField-1], v)
	}
	if r.thread.WriteAt(r.Args[0], b) != nil {
		return fail(unix.EFAULT)
	}
	return value(0)
}

// rlimitLen is the length of struct rlimit64.
const rlimitLen = 16

// prlimit answers prlimit64(2) for RLIMIT_MEMLOCK of the tool itself, by which
// kernels before 5.11 count maps: those that count are made by the daemon. What
// this machine permits says nothing of that.
func (s *Supervisor) prlimit(r *request) answer {
	if r.Args[0] != 0 {
		return resume
	}
	c := &wire.Call{Sys: wire.SysPrlimit, Args: []uint64{0, unix.RLIMIT_MEMLOCK, 0, 0}}
	if r.Args[2] != 0 {
		limit := make([]byte, rlimitLen)
		if r.thread.ReadAt(r.Args[2], limit) != nil {
			return fail(unix.EFAULT)
		}
		c.Patches = append(c.Patches, wire.Patch{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: 2, Ref: uint32(len(c.Bufs))})
		c.Bufs = append(c.Bufs, wire.Buf{Flags: wire.BufIn, Len: rlimitLen, In: limit})
	}
	if r.Args[3] != 0 {
		c.Patches = append(c.Patches, wire.Patch{Kind: wire.PatchPtr, Buf: wire.PatchArg, Off: 3, Ref: uint32(len(c.Bufs))})
		c.Bufs = append(c.Bufs, wire.Buf{Flags: wire.BufOut, Len: rlimitLen})
	}
	var reply wire.CallReply
	if s.target.Do(wire.TypeCall, c, &reply) != nil {
		return linkLost()
	}
	s.trace(r, marshal.Named("prlimit64", r.Args[:4]...), reply.Ret, unix.Errno(reply.Errno))
	if reply.Errno != 0 {
		return fromErrno(reply.Errno)
	}
	if r.Args[3] != 0 && len(reply.Out) == 1 {
		old := make([]byte, rlimitLen)
		copy(old, reply.Out[0])
		if r.thread.WriteAt(r.Args[3], old) != nil {
			return fail(unix.EFAULT)
		}
	}
	return value(reply.Ret)
}

// local says whether a pid is one of the tool's own processes.
func (s *Supervisor) local(pid int) bool { return s.fs.Own(pid) }

// kill answers kill(2) with signal 0, by which tools ask whether a process is
// there: on the target, unless it is one of their own.
func (s *Supervisor) kill(r *request) answer {
	pid := int(int32(r.Args[0]))
	if pid <= 0 || s.local(pid) {
		return resume
	}
	a := s.simple(&wire.Call{Sys: wire.SysKill, Args: []uint64{uint64(pid), 0}})
	s.trace(r, marshal.Named("kill", uint64(pid), 0), a.val, a.errno)
	return a
}

// pidfdOpen answers pidfd_open(2) for processes of the target. The descriptor
// becomes readable when the process is gone.
func (s *Supervisor) pidfdOpen(r *request) answer {
	pid := int(int32(r.Args[0]))
	if pid <= 0 || s.local(pid) {
		return resume
	}
	o := &object{name: "anon_inode:[pidfd]", level: true}
	o.Object = marshal.Object{Handle: s.target.NewHandle(), Kind: abi.KindPidfd}
	a := s.simple(&wire.Call{Sys: wire.SysPidfdOpen, Result: o.Handle, Args: []uint64{uint64(pid), r.Args[1]}})
	s.trace(r, marshal.Named("pidfd_open", uint64(pid), r.Args[1]), a.val, a.errno)
	if a.errno != 0 {
		return a
	}
	a = s.place(r, o, true)
	if a.errno == 0 {
		s.target.OpenStream(wire.Stream{Kind: wire.StreamPoll, Handle: o.Handle}, gone{s.objects, o})
	}
	return a
}

// gone wakes who waits for a process when it has ended.
type gone struct {
	objects *registry
	o       *object
}

func (g gone) Data(wire.Data) {}

func (g gone) End(unix.Errno) { g.objects.wake(g.o) }

// simple has the target run a call without buffers.
func (s *Supervisor) simple(c *wire.Call) answer {
	var reply wire.CallReply
	if s.target.Do(wire.TypeCall, c, &reply) != nil {
		return linkLost()
	}
	if reply.Errno != 0 {
		return fromErrno(reply.Errno)
	}
	return value(reply.Ret)
}

// sleep answers clock_nanosleep(2), which is what C libraries call: the kernel
// sleeps; what the tool has written to mapped arrays goes out before.
// nanosleep(2) is not trapped: those who still call it are Go programs, whose
// scheduler does so every 20 µs.
func (s *Supervisor) sleep(*request) answer {
	s.arrays.flush(false)
	return resume
}

// readlink answers readlink(2) and readlinkat(2) where the tool looks at its
// own descriptors: placeholders bear the name of what they stand for. Links to
// the namespaces of the target's processes have the target's text.
func (s *Supervisor) readlink(r *request) answer {
	args := r.Args[:]
	if r.Nr == unix.SYS_READLINKAT {
		args = args[1:]
	}
	path, err := r.thread.String(args[0])
	if err != nil || !strings.HasPrefix(path, "/proc/") && strings.HasPrefix(path, "/") {
		return resume
	}
	if pid, ok := remotefs.NamespaceOf(path); ok && !s.local(pid) {
		return s.namespaceLink(r, path, args)
	}
	dir, last := path, path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, last = path[:i], path[i+1:]
	}
	fd, err := strconv.Atoi(last)
	if err != nil || strings.HasPrefix(path, "/") && !s.ownDescriptors(r, dir) {
		return resume
	}
	if !strings.HasPrefix(path, "/") && !s.descriptorsAt(r) {
		return resume
	}
	o := s.objects.lookup(r, fd)
	if o == nil {
		return resume
	}
	return r.linkText(args, []byte(o.name))
}

// linkText answers readlink(2) or the tail of readlinkat(2) with a text.
func (r *request) linkText(args []uint64, b []byte) answer {
	b = b[:min(len(b), int(args[2]))]
	if r.thread.WriteAt(args[1], b) != nil {
		return fail(unix.EFAULT)
	}
	return value(int64(len(b)))
}

// namespaceLink answers for a link like /proc/1/ns/mnt: in the file system it
// leads to a file that can be opened, which the text of the original cannot.
func (s *Supervisor) namespaceLink(r *request, path string, args []uint64) answer {
	var reply wire.BytesReply
	if s.target.Do(wire.TypeReadlink, &wire.Path{Path: path}, &reply) != nil {
		return linkLost()
	}
	if reply.Errno != 0 {
		return fromErrno(reply.Errno)
	}
	return r.linkText(args, reply.Bytes)
}

// ownDescriptors says whether dir is /proc/self/fd or the like.
func (s *Supervisor) ownDescriptors(r *request, dir string) bool {
	pid, ok := strings.CutSuffix(strings.TrimPrefix(dir, "/proc/"), "/fd")
	if !ok {
		return false
	}
	if pid == "self" || pid == "thread-self" {
		return true
	}
	_, inner, _, err := r.thread.Process()
	return err == nil && pid == strconv.Itoa(inner)
}

// descriptorsAt says whether the directory of a readlinkat is the tool's own
// directory of descriptors.
func (s *Supervisor) descriptorsAt(r *request) bool {
	if r.Nr != unix.SYS_READLINKAT {
		return false
	}
	link, err := r.thread.Link("fd/" + strconv.Itoa(int(int32(r.Args[0]))))
	if err != nil || !strings.HasSuffix(link, "/fd") {
		return false
	}
	_, inner, _, err := r.thread.Process()
	return err == nil && strings.HasSuffix(link, "/"+strconv.Itoa(inner)+"/fd")
}

// compiledFor returns the architecture for which a tool generates code: bcc
// does so for the target, as ARCH tells it; bpftrace, which uses parts of bcc,
// for the machine that it was built for. Of others it is not known.
func (s *Supervisor) compiledFor(mem marshal.Memory) string {
	t, ok := mem.(tracee.Thread)
	if !ok {
		return ""
	}
	if exe, err := t.Link("exe"); err == nil && strings.HasPrefix(filepath.Base(exe), "bpftrace") {
		return runtime.GOARCH
	}
	if maps, err := t.Read("maps"); err == nil && strings.Contains(string(maps), "/libbcc.so") {
		return s.target.Welcome.Info.Arch
	}
	return ""
}
