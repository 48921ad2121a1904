package supervisor

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"bpfd/internal/abi"
	"bpfd/internal/kernel"
	"bpfd/internal/marshal"
	"bpfd/internal/remotefs"
	"bpfd/internal/tracee"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// view finds what the descriptors of one thread stand for, during one call.
type view struct {
	s       *Supervisor
	r       *request
	foreign []wire.Handle // opened for the call
	// The last descriptor that was looked up: most calls have one only.
	fd    int
	o     *object
	known bool
}

// lookup returns the object behind a descriptor. The tool waits: the answer
// stays the same during the call.
func (v *view) lookup(fd int) *object {
	if !v.known || v.fd != fd {
		v.fd, v.o, v.known = fd, v.s.objects.lookup(v.r, fd), true
	}
	return v.o
}

// Object implements marshal.Objects.
func (v *view) Object(fd int32) *marshal.Object {
	if o := v.lookup(int(fd)); o != nil {
		return &o.Object
	}
	return nil
}

// namespaces are the kinds of links in /proc/PID/ns that bpf(2) takes.
var namespaces = map[string]bool{"net": true, "cgroup": true, "pid": true, "mnt": true}

// Foreign implements marshal.Objects: a directory or a namespace of the
// target's that the tool has opened in our view of it is opened there.
func (v *view) Foreign(fd int32) (wire.Handle, bool) {
	path, err := v.link(fd)
	if err != nil {
		return 0, false
	}
	if kind, _, ok := strings.Cut(path, ":["); ok && namespaces[kind] {
		// The tool's own namespace stands for the daemon's.
		path = "/proc/self/ns/" + kind
	} else if !targetPath(path) {
		return 0, false
	}
	return v.open(path)
}

func (v *view) link(fd int32) (string, error) {
	return v.r.thread.Link("fd/" + strconv.Itoa(int(fd)))
}

// open opens a file of the target for the call.
func (v *view) open(path string) (wire.Handle, bool) {
	h := v.s.target.NewHandle()
	var reply wire.OpenReply
	if v.s.target.Do(wire.TypeOpen, &wire.Open{Result: h, Flags: wire.OpenRead, Path: path}, &reply) != nil || reply.Errno != 0 {
		return 0, false
	}
	v.foreign = append(v.foreign, h)
	return h, true
}

// Other implements marshal.Objects.
func (v *view) Other(fd int32) (wire.Handle, bool) {
	path, err := v.link(fd)
	if err != nil {
		return 0, false
	}
	if strings.HasPrefix(path, "socket:") {
		v.s.warnOnce("the tool hands one of its sockets to the kernel's BPF, which is the target's: it has no sockets of this host, so the call fails")
	}
	return v.open("/dev/null")
}

// LinkType implements marshal.Objects.
func (v *view) LinkType(o *marshal.Object) uint32 {
	if t := v.o.link.Load(); t != 0 { // what was looked up last is the link
		return t
	}
	var reply wire.CallReply
	if v.s.target.Do(wire.TypeCall, marshal.LinkInfoCall(o.Handle), &reply) == nil && reply.Errno == 0 {
		v.o.link.Store(marshal.ParseLinkType(&reply))
	}
	return v.o.link.Load()
}

func (v *view) close() {
	if len(v.foreign) > 0 {
		v.s.target.Post(wire.TypeClose, &wire.Close{Handles: v.foreign})
	}
}

// slowBPF says which commands leave the thread that receives calls.
func slowBPF(r *request) bool {
	cmd := r.Args[0]
	return cmd < uint64(len(abi.Commands)) && abi.Commands[cmd].Slow
}

// bpf answers bpf(2).
func (s *Supervisor) bpf(r *request) answer {
	cmd := uint32(r.Args[0])
	if i, ok := triggerIndex(cmd); ok {
		return s.trigger(i)
	}
	s.userRings.flush()
	s.arrays.flush(false)
	if cmd < uint32(len(abi.Commands)) && abi.Commands[cmd].Runs {
		s.rings.settle(false) // there may be room for what it writes
	}
	v := &view{s: s, r: r}
	defer v.close()
	if a, ok := s.standInBTF(v, cmd); ok {
		return a
	}
	if cmd == abi.BPF_MAP_FREEZE {
		s.unmap(v)
	}
	req, errno := s.marshal.BPF(r.thread, v, cmd, r.Args[1], uint32(r.Args[2]))
	if errno != 0 {
		s.trace(r, marshal.Refused(cmd), 0, errno)
		return fail(errno)
	}
	if cmd == abi.BPF_PROG_TEST_RUN {
		s.runs.Add(1)
	}
	a := s.run(r, req, true)
	switch cmd {
	case abi.BPF_PROG_TEST_RUN:
		s.runs.Add(1)
		// What the program wrote and consumed is there when the call returns.
		s.arrays.flush(true)
		s.userRings.flush()
	case abi.BPF_MAP_UPDATE_ELEM, abi.BPF_MAP_UPDATE_BATCH:
		s.arrays.flush(true)
	case abi.BPF_MAP_FREEZE:
		if a.errno == 0 {
			v.o.frozen.Store(true) // it was looked up last
		}
	}
	return a
}

// unmap has the target give up its mapping of an array that is to be frozen: it
// can be written to, and the kernel refuses to freeze what somebody can write
// to. If the tool can, that is right.
func (s *Supervisor) unmap(v *view) {
	attr := make([]byte, 4)
	if v.r.Args[2] < 4 || v.r.thread.ReadAt(v.r.Args[1], attr) != nil {
		return
	}
	o := v.lookup(int(int32(le.Uint32(attr))))
	if o == nil || o.array.Load() == nil || v.r.thread.MapsForWriting(s.objects.identities(o)) {
		return
	}
	s.arrays.flush(true)
	var reply wire.MemoryReply
	s.target.Do(wire.TypeMemory, &wire.Memory{Handle: o.Handle}, &reply)
}

// run has the target make a call and hands over its result.
func (s *Supervisor) run(r *request, req *marshal.Request, cloexec bool) answer {
	if !s.listener.Valid(r.ID) {
		return fail(unix.EINTR) // the tool is gone: nobody sees this
	}
	var reply wire.CallReply
	if s.target.Do(wire.TypeCall, &req.Call, &reply) != nil {
		return linkLost()
	}
	val, errno := req.Finish(&reply)
	s.trace(r, req, val, errno)
	if errno != 0 {
		if reply.Errno == 0 && req.Result != nil {
			s.drop(req.Result.Handle) // made, but the tool cannot be told
		}
		return fail(errno)
	}
	if req.Result == nil {
		return value(val)
	}
	o := &object{Object: *req.Result, name: reply.Link}
	if o.Kind == abi.KindMap && o.Map == nil {
		s.describe(o)
	}
	return s.place(r, o, cloexec)
}

// describe asks the target for the sizes of a map that the tool has opened by
// id or by path.
func (s *Supervisor) describe(o *object) {
	c := marshal.MapInfoCall(o.Handle)
	var reply wire.CallReply
	if s.target.Do(wire.TypeCall, c, &reply) == nil && reply.Errno == 0 {
		o.Map = marshal.ParseMapInfo(&reply)
	}
}

// kernelBTF returns the types of the target's kernel if o holds them.
func (s *Supervisor) kernelBTF(o *marshal.Object) []byte {
	var reply wire.CallReply
	if s.target.Do(wire.TypeCall, marshal.BTFInfoCall(o.Handle), &reply) != nil || !marshal.IsKernelBTF(&reply) {
		return nil
	}
	return s.kernel.BTF()
}

// drop closes a handle on the target.
func (s *Supervisor) drop(h wire.Handle) {
	s.target.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{h}})
}

// perfEventOpen answers perf_event_open(2).
func (s *Supervisor) perfEventOpen(r *request) answer {
	v := &view{s: s, r: r}
	defer v.close()
	var function string // that a kprobe is to be at
	req, errno := s.marshal.PerfEventOpen(r.thread, v, r.Args, func(ev *marshal.PerfEvent) unix.Errno {
		if le.Uint32(ev.Attr) == s.marshal.Target.KprobePMU {
			function = ev.Path
		}
		return s.editEvent(r, ev)
	})
	if errno != 0 {
		s.trace(r, marshal.Named("perf_event_open", r.Args[1:5]...), 0, errno)
		return fail(errno)
	}
	a := s.run(r, req, r.Args[4]&unix.PERF_FLAG_FD_CLOEXEC != 0)
	if a.errno == unix.ENOENT && function != "" && s.opts.NoFunction != nil { // register_kprobe, kernel/kprobes.c
		s.opts.NoFunction(function)
	}
	return a
}

// editEvent makes the file of a uprobe one of the target's.
func (s *Supervisor) editEvent(r *request, ev *marshal.PerfEvent) unix.Errno {
	if le.Uint32(ev.Attr) != s.marshal.Target.UprobePMU || ev.Path == "" {
		return 0
	}
	if s.ownProgram(r, ev.Path) {
		s.triggers.redirect(s, r, ev)
		return 0
	}
	if path, ok := remotefs.TargetPath(ev.Path); ok {
		ev.Path = path
		return 0
	}
	if !filepath.IsAbs(ev.Path) {
		cwd, err := r.thread.Link("cwd")
		if err != nil {
			return 0
		}
		ev.Path = filepath.Join(cwd, ev.Path)
	}
	return s.probed(ev.Path)
}

// perfIoctl answers ioctl(2) on perf events.
func (s *Supervisor) perfIoctl(r *request) answer {
	fd := int(int32(r.Args[0]))
	o := s.objects.lookup(r, fd)
	if o == nil || o.Kind != abi.KindPerf {
		return resume // ENOTTY, of what else stands for an object as well
	}
	s.legible(r, o, fd)
	v := &view{s: s, r: r}
	defer v.close()
	req, errno := s.marshal.PerfIoctl(r.thread, v, r.Args)
	if errno != 0 {
		s.trace(r, marshal.Named("ioctl", r.Args[:3]...), 0, errno)
		return fail(errno)
	}
	return s.run(r, req, true)
}

// newMarshaller asks the target for what marshalling depends on.
func (s *Supervisor) newMarshaller() *marshal.Marshaller {
	i := &s.target.Welcome.Info
	return &marshal.Marshaller{
		NewHandle: s.target.NewHandle,
		Warn:      s.opts.Warn,
		KernelBTF: s.kernelBTF,
		HostArch:  runtime.GOARCH, CompiledFor: s.compiledFor, Translate: s.opts.Registers,
		Target: marshal.Target{
			CPUs: cpus(i.Possible), WordSize: int(i.WordSize), Version: kernelVersion(i.Release), Arch: i.Arch,
			KprobePMU: s.number("/sys/bus/event_source/devices/kprobe/type"),
			UprobePMU: s.number("/sys/bus/event_source/devices/uprobe/type"),
		},
	}
}

// number reads a number from a file of the target, 0 if there is none.
func (s *Supervisor) number(path string) uint32 {
	var reply wire.OpenReply
	req := wire.Open{Result: s.target.NewHandle(), Flags: wire.OpenRead, Snapshot: 64, Path: path}
	if s.target.Do(wire.TypeOpen, &req, &reply) != nil || reply.Errno != 0 {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(reply.Bytes)), 10, 32)
	return uint32(n)
}

// cpus counts the processors of a list like "0-3,8": those up to the last.
func cpus(list string) uint32 {
	last := list[strings.LastIndexAny(list, ",-")+1:]
	n, err := strconv.ParseUint(last, 10, 32)
	if err != nil {
		return 1
	}
	return uint32(n) + 1
}

// kernelVersion is KERNEL_VERSION of a release like 6.1.0-56-amd64.
func kernelVersion(release string) uint32 {
	var a, b, c uint32
	fmt.Sscanf(release, "%d.%d.%d", &a, &b, &c)
	return a<<16 | b<<8 | min(c, 255)
}

// serveFiles serves the target's files to the tool.
func (s *Supervisor) serveFiles() (*remotefs.FS, error) {
	return remotefs.Serve(s.target, s.tool.Fuse, remotefs.Options{
		PID: int(s.target.Welcome.Info.Pid), Procfs: s.tool.Procfs, FDInfo: s.fdinfo, Probed: s.probed,
		Known:    map[string]func() []byte{kernel.BTFPath: s.kernel.BTF},
		StandIns: s.standIns(), Instead: s.shownBTF(), Absent: s.opts.Absent,
		Release: s.target.Welcome.Info.Release, Headers: s.opts.Headers,
	})
}

// fdinfo returns what the target says of a descriptor of the tool's; inner is
// a process in the tool's pid namespace.
func (s *Supervisor) fdinfo(inner, fd int) ([]byte, bool) {
	id, err := tracee.Identify(fmt.Sprintf("/proc/self/fd/%d/%d/fd/%d", s.tool.Procfs.Fd(), inner, fd))
	if err != nil {
		return nil, false
	}
	o := s.objects.find(id)
	if o == nil {
		return nil, false
	}
	var reply wire.OpenReply
	req := wire.Open{Result: s.target.NewHandle(), Flags: wire.OpenRead, Snapshot: 4096, Path: fmt.Sprintf("/proc/self/fdinfo/@%d", o.Handle)}
	if s.target.Do(wire.TypeOpen, &req, &reply) != nil || reply.Errno != 0 {
		return nil, false
	}
	return reply.Bytes, true
}

// trace prints a proxied call.
func (s *Supervisor) trace(r *request, req *marshal.Request, val int64, errno unix.Errno) {
	if s.opts.Trace == nil {
		return
	}
	line := marshal.Format(req, val, errno)
	s.traceMu.Lock()
	defer s.traceMu.Unlock()
	fmt.Fprintf(s.opts.Trace, "%d %s\n", r.TID, line)
}

// traceLocal prints a call that was answered from a walk.
func (s *Supervisor) traceLocal(r *request, cmd uint32, a answer) {
	if s.opts.Trace == nil {
		return
	}
	req, errno := s.marshal.BPF(r.thread, &view{s: s, r: r}, cmd, r.Args[1], uint32(r.Args[2]))
	if errno != 0 {
		req = marshal.Refused(cmd)
	}
	s.trace(r, req, a.val, a.errno)
}

func (s *Supervisor) warnOnce(msg string) {
	if _, said := s.warned.LoadOrStore(msg, true); !said {
		s.opts.Warn(msg)
	}
}
