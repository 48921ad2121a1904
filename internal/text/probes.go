package text

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// probeKind is what a program is attached to, under a name that clients choose.
type probeKind int

const (
	kprobe probeKind = iota
	uprobe
	tracepoint
)

// pmu are the names that the kernel's two sources of probes have in sysfs, in
// tracefs, and here.
var pmu = [...]string{kprobe: "kprobe", uprobe: "uprobe"}

// probe is an attached program.
type probe struct {
	event      *object
	definition string // name of its event in tracefs, "" if it needed none
}

// probeName is what a client calls a probe.
type probeName struct {
	kind probeKind
	name string
}

// probes are those of a session. A probe outlives its event's number: clients
// close that first, and then detach by name.
type probes struct{ all map[probeName][]*probe }

func (p *probes) init() { p.all = make(map[probeName][]*probe) }

// place is where a kprobe or uprobe goes.
type place struct {
	kind      probeKind
	ret       bool
	event     string // the client's name
	target    string // function or path
	offset    uint64
	maxActive int // of a kretprobe, 0 for the kernel's choice
	pid, cpu  int
	group     int
}

func attachKprobeA(s *session, a *args) {
	p := place{kind: kprobe, ret: a.int(1) == 1, event: a.string(2), target: a.string(3), pid: a.int(4), cpu: a.int(5), group: a.int(6)}
	s.attachAt("bpf_attach_kprobe", a.int(0), p, true)
}

func attachKprobeB(s *session, a *args) {
	p := place{kind: kprobe, ret: a.int(1) == 1, event: a.string(2), target: a.string(3), pid: -1, group: -1}
	s.attachAt("bpf_attach_kprobe", a.int(0), p, false)
}

func attachKprobeE(s *session, a *args) {
	p := place{kind: kprobe, ret: a.int(1) == 1, event: a.string(2), target: a.string(3), offset: a.u64(4),
		maxActive: max(a.int(5), 0), pid: -1, group: -1}
	s.attachAt("bpf_attach_kprobe", a.int(0), p, false)
}

func attachUprobe(s *session, a *args) {
	p := place{kind: uprobe, ret: a.int(1) == 1, event: a.string(2), target: a.string(3), offset: a.u64(4), pid: a.int(5), group: -1}
	if p.pid > 0 {
		p.cpu = -1
		// The path is the process's own, which may be in another mount namespace.
		if inRoot := fmt.Sprintf("/proc/%d/root%s", p.pid, p.target); unix.Access(inRoot, unix.F_OK) == nil {
			p.target = inRoot
		}
	} else {
		p.pid = -1
	}
	s.attachAt("bpf_attach_uprobe", a.int(0), p, false)
}

// attachAt attaches program prog to a probe and answers the number of the
// event, or in dialect A that of the program.
func (s *session) attachAt(label string, prog int, p place, answerProg bool) {
	var err error
	if p.group >= 0 {
		p.group, err = s.objects.fd(p.group)
	}
	fd, definition := -1, ""
	if err == nil {
		fd, definition, err = p.open()
	}
	s.attached(label, prog, fd, definition, probeName{p.kind, p.event}, answerProg, err)
}

// attached sets the program of a new event, and keeps the event under a name.
func (s *session) attached(label string, prog, fd int, definition string, name probeName, answerProg bool, err error) {
	var progFD int
	if err == nil {
		if progFD, err = s.objects.fd(prog); err == nil {
			err = startEvent(fd, progFD)
		}
		if err != nil {
			unix.Close(fd)
			undefine(name.kind, definition)
		}
	}
	if err != nil {
		s.fail(label, err)
		return
	}
	o := &object{fd: fd, perf: true}
	num := s.objects.add(o)
	s.probes.all[name] = append(s.probes.all[name], &probe{o, definition})
	if answerProg {
		num = prog
	}
	s.ret(label, int64(num))
}

// startEvent has an event run a program.
func startEvent(fd, prog int) error {
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0)
}

// open makes the event of a probe: by the PMU for it, which leaves nothing
// behind, or on kernels before 4.17 by a definition in tracefs, which is
// returned. Only there can maxactive be given.
func (p *place) open() (fd int, definition string, err error) {
	if kind, err := strconv.Atoi(readLine(pmuDir(p.kind) + "type")); err == nil && !(p.ret && p.maxActive > 0) {
		fd, err := p.openPMU(uint32(kind))
		if err == unix.ENOENT && p.kind == kprobe {
			err = fmt.Errorf("the kernel has no function %s: %w", p.target, err)
		}
		return fd, "", err
	}
	return p.openTracefs()
}

func pmuDir(kind probeKind) string { return "/sys/bus/event_source/devices/" + pmu[kind] + "/" }

func (p *place) openPMU(kind uint32) (int, error) {
	target := cString(p.target)
	attr := &unix.PerfEventAttr{Type: kind, Ext1: uint64(sys.Address(target)), Ext2: p.offset}
	if p.ret {
		bit, err := strconv.Atoi(strings.TrimPrefix(readLine(pmuDir(p.kind)+"format/retprobe"), "config:"))
		if err != nil {
			return -1, unix.EOPNOTSUPP
		}
		attr.Config = 1 << bit
	}
	fd, err := openEvent(attr, p.pid, p.cpu, p.group)
	runtime.KeepAlive(target)
	return fd, err
}

// openTracefs defines an event in a group of this process's own.
func (p *place) openTracefs() (int, string, error) {
	name := fmt.Sprintf("bpfd_%d/%s", unix.Getpid(), plain(p.event))
	letter, at := "p", p.target
	if p.ret {
		letter = "r"
		if p.maxActive > 0 {
			letter += strconv.Itoa(p.maxActive)
		}
	}
	if p.kind == uprobe {
		at += ":0x" + strconv.FormatUint(p.offset, 16)
	} else if p.offset > 0 {
		at += "+" + strconv.FormatUint(p.offset, 10)
	}
	file := definitions(p.kind)
	if unix.Access(file, unix.F_OK) != nil {
		return -1, "", fmt.Errorf("this kernel has no %ss: there is neither %s nor %s: %w", pmu[p.kind], pmuDir(p.kind), file, unix.ENOENT)
	}
	if err := appendTo(file, letter+":"+name+" "+at+"\n"); err != nil {
		return -1, "", fmt.Errorf("%s does not take %s: %w", file, at, err)
	}
	fd, err := openTracepoint(name, p.pid, p.cpu, p.group)
	if err != nil {
		undefine(p.kind, name)
		return -1, "", err
	}
	return fd, name, nil
}

// plain makes a name that tracefs takes.
func plain(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			b[i] = '_'
		}
	}
	return string(b[:min(len(b), 48)]) // the kernel's limit is 64 with the group
}

// undefine removes an event from tracefs.
func undefine(kind probeKind, name string) error {
	if name == "" {
		return nil
	}
	return appendTo(definitions(kind), "-:"+name+"\n")
}

func definitions(kind probeKind) string { return tracefs() + "/" + pmu[kind] + "_events" }

func appendTo(path, line string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return sys.WriteFull(fd, []byte(line))
}

// openTracepoint opens the event named GROUP/NAME.
func openTracepoint(event string, pid, cpu, group int) (int, error) {
	id, err := strconv.ParseUint(readLine(tracefs()+"/events/"+event+"/id"), 10, 64)
	if err != nil {
		return -1, fmt.Errorf("there is no event %s: %w", event, unix.ENOENT)
	}
	return openEvent(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Sample: 1}, pid, cpu, group)
}

func attachTracepointA(s *session, a *args) {
	s.attachTracepoint(a, a.int(3), a.int(4), a.int(5), true)
}

func attachTracepointB(s *session, a *args) { s.attachTracepoint(a, -1, 0, -1, false) }

func (s *session) attachTracepoint(a *args, pid, cpu, group int, answerProg bool) {
	name := a.string(1) + "/" + a.string(2)
	var err error
	if group >= 0 {
		group, err = s.objects.fd(group)
	}
	fd := -1
	if err == nil {
		fd, err = openTracepoint(name, pid, cpu, group)
	}
	s.attached("bpf_attach_tracepoint", a.int(0), fd, "", probeName{tracepoint, name}, answerProg, err)
}

func attachPerfEvent(s *session, a *args) {
	const label = "bpf_attach_perf_event"
	attr := &unix.PerfEventAttr{Type: a.u32(1), Config: uint64(a.u32(2))}
	period, freq := a.u64(3), a.u64(4)
	attr.Sample = period
	if period == 0 {
		attr.Sample, attr.Bits = freq, unix.PerfBitFreq
	}
	prog, err := s.objects.fd(a.int(0))
	group := a.int(7)
	if err == nil && group >= 0 {
		group, err = s.objects.fd(group)
	}
	if err == nil && (period == 0) == (freq == 0) {
		err = fmt.Errorf("either a period or a frequency: %w", unix.EINVAL)
	}
	fd := -1
	if err == nil {
		fd, err = openEvent(attr, a.int(5), a.int(6), group)
	}
	if err == nil {
		if err = startEvent(fd, prog); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		s.fail(label, err)
		return
	}
	s.ret(label, int64(s.objects.add(&object{fd: fd, perf: true})))
}

func closePerfEvent(s *session, a *args) {
	const label = "bpf_close_perf_event_fd"
	o := s.objects.get(a.int(0))
	if o == nil || !o.perf {
		s.fail(label, fmt.Errorf("%d is no perf event of this session: %w", a.int(0), unix.EBADF))
		return
	}
	s.result(label, s.objects.close(o))
}

func detachKprobe(s *session, a *args) {
	err := s.probes.detach(s, probeName{kprobe, a.string(0)})
	if err == unix.ENOENT {
		err = fmt.Errorf("no kprobe %s is attached: %w", a.string(0), err)
	}
	s.result("bpf_detach_kprobe", err)
}

// A client of 2018 takes it for an error if a uprobe or a tracepoint is not
// there to be detached, and the daemons of then never said so.
func detachUprobe(s *session, a *args) {
	s.detached("bpf_detach_uprobe", s.probes.detach(s, probeName{uprobe, a.string(0)}))
}

func detachTracepoint(s *session, a *args) {
	s.detached("bpf_detach_tracepoint", s.probes.detach(s, probeName{tracepoint, a.string(0) + "/" + a.string(1)}))
}

func (s *session) detached(label string, err error) {
	if err == unix.ENOENT {
		err = nil
	}
	s.result(label, err)
}

// detach detaches what has a name; ENOENT means that nothing has.
func (p *probes) detach(s *session, name probeName) error {
	list, ok := p.all[name]
	if !ok {
		return unix.ENOENT
	}
	delete(p.all, name)
	var err error
	for _, probe := range list {
		if o := probe.event; s.objects.get(o.num) == o {
			s.objects.close(o)
		}
		if e := undefine(name.kind, probe.definition); e != nil {
			err = e
		}
	}
	return err
}

// detachAll detaches every program and returns from how many events.
func (p *probes) detachAll(s *session) int {
	n := 0
	for _, o := range s.objects.all {
		if o != nil && o.perf && o.ring == nil {
			s.objects.close(o)
			n++
		}
	}
	for name := range p.all {
		p.detach(s, name)
	}
	return n
}

func detachAll(s *session, _ *args) { s.ret("detach_all", int64(s.probes.detachAll(s))) }

// closeObject drops any object: the old protocol has no word for a map or a
// program that is not needed any more.
func closeObject(s *session, a *args) {
	o := s.objects.get(a.int(0))
	if o == nil {
		s.fail("close", unix.EBADF)
		return
	}
	s.result("close", s.objects.close(o))
}
