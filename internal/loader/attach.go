package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Where says where to attach what a section leaves open.
type Where struct {
	Interface string // of XDP and tc programs
	Cgroup    string // directory, "" for the root of the hierarchy
	Frequency int    // samples per second and CPU of perf_event programs
	Root      string // where the target's root directory is
}

// Attached is one place where a program is attached.
type Attached struct {
	Name  string // the program's, made unique
	Where string // for the user
	Link  link.Link
	stays bool // stays attached without a pin: BPF_PROG_ATTACH of kernels before 5.7
}

// errAlone is the error of types whose programs the section cannot place.
func errAlone(why string) error {
	return fmt.Errorf("cannot be attached by itself: %s; load it without --attach and let a program of yours attach it", why)
}

type attacher func(*Where, *ebpf.ProgramSpec, *ebpf.Program) ([]Attached, error)

// attachers attach programs by their types.
var attachers = map[ebpf.ProgramType]attacher{
	ebpf.Kprobe:                attachProbe,
	ebpf.TracePoint:            one(attachTracepoint),
	ebpf.RawTracepoint:         one(attachRawTracepoint),
	ebpf.RawTracepointWritable: one(attachRawTracepoint),
	ebpf.Tracing:               one(attachTracing),
	ebpf.LSM:                   one(attachLSM),
	ebpf.PerfEvent:             attachPerfEvent,
	ebpf.XDP:                   one(attachXDP),
	ebpf.SchedCLS:              one(attachTC),
	ebpf.CGroupSKB:             attachCgroup,
	ebpf.CGroupSock:            attachCgroup,
	ebpf.CGroupSockAddr:        attachCgroup,
	ebpf.CGroupSockopt:         attachCgroup,
	ebpf.CGroupSysctl:          attachCgroup,
	ebpf.CGroupDevice:          attachCgroup,
	ebpf.SockOps:               attachCgroup,
	ebpf.SocketFilter:          alone("a socket filter belongs to a socket"),
	ebpf.SkSKB:                 alone("it belongs to a sockmap"),
	ebpf.SkMsg:                 alone("it belongs to a sockmap"),
	ebpf.SkReuseport:           alone("it belongs to a socket"),
	ebpf.SkLookup:              alone("it belongs to a network namespace"),
	ebpf.FlowDissector:         alone("it belongs to a network namespace"),
	ebpf.SchedACT:              alone("an action belongs to a tc filter"),
	ebpf.LWTIn:                 alone("it belongs to a route"),
	ebpf.LWTOut:                alone("it belongs to a route"),
	ebpf.LWTXmit:               alone("it belongs to a route"),
	ebpf.LWTSeg6Local:          alone("it belongs to a route"),
	ebpf.LircMode2:             alone("it belongs to a device"),
	ebpf.Extension:             alone("it replaces a function of another program"),
	ebpf.Syscall:               alone("it runs when a program runs it"),
	ebpf.Netfilter:             alone("its section says neither the protocol nor the hook"),
}

func alone(why string) attacher {
	return func(*Where, *ebpf.ProgramSpec, *ebpf.Program) ([]Attached, error) { return nil, errAlone(why) }
}

// one is for programs that are attached in one place.
func one(f func(*Where, *ebpf.ProgramSpec, *ebpf.Program) (link.Link, string, error)) attacher {
	return func(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) ([]Attached, error) {
		l, where, err := f(w, s, p)
		if err != nil {
			return nil, err
		}
		return []Attached{{Name: s.Name, Where: where, Link: l}}, nil
	}
}

func (w *Where) attach(s *ebpf.ProgramSpec, p *ebpf.Program) ([]Attached, error) {
	f := attachers[s.Type]
	if f == nil {
		return nil, errAlone("nothing is known of type " + s.Type.String())
	}
	return f(w, s, p)
}

func attachTracepoint(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
	group, name, ok := strings.Cut(s.AttachTo, "/")
	if !ok {
		return nil, "", fmt.Errorf("a tracepoint's section is named tracepoint/GROUP/NAME")
	}
	l, err := link.Tracepoint(group, name, p, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("the target's kernel has no tracepoint %s:%s", group, name)
	}
	return l, "tracepoint " + group + ":" + name, err
}

func attachRawTracepoint(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: s.AttachTo, Program: p})
	if errors.Is(err, unix.ENOENT) {
		return nil, "", fmt.Errorf("the target's kernel has no tracepoint %s", s.AttachTo)
	}
	return l, "raw tracepoint " + s.AttachTo, err
}

func attachTracing(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
	if s.AttachType == ebpf.AttachTraceIter {
		l, err := link.AttachIter(link.IterOptions{Program: p})
		return l, "iterator over " + s.AttachTo, err
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	return l, s.SectionName, err
}

func attachLSM(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
	if s.AttachType == ebpf.AttachLSMCgroup {
		return nil, "", errAlone("lsm_cgroup programs are attached by who knows the cgroup")
	}
	l, err := link.AttachLSM(link.LSMOptions{Program: p})
	return l, s.SectionName, err
}

// interfaceIndex asks the target: a socket's answer would be the host's.
func (w *Where) interfaceIndex() (int, error) {
	if w.Interface == "" {
		return 0, errors.New("which interface? give --ifname NAME")
	}
	b, err := os.ReadFile(filepath.Join("/sys/class/net", filepath.Base(w.Interface), "ifindex"))
	if err != nil {
		return 0, fmt.Errorf("the target has no network interface %q", w.Interface)
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func attachXDP(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
	if s.AttachType != ebpf.AttachXDP && s.AttachType != ebpf.AttachNone {
		return nil, "", errAlone("it belongs into a devmap or cpumap")
	}
	i, err := w.interfaceIndex()
	if err != nil {
		return nil, "", err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: i})
	return l, "xdp on " + w.Interface, since(err, "XDP links", "5.9")
}

func attachTC(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
	if s.AttachType == ebpf.AttachNone {
		return nil, "", errors.New("its section does not say the direction: name it tc/ingress or tc/egress")
	}
	i, err := w.interfaceIndex()
	if err != nil {
		return nil, "", err
	}
	where := strings.TrimPrefix(s.SectionName, "?") + " on " + w.Interface
	if strings.HasPrefix(s.SectionName, "netkit") {
		l, err := link.AttachNetkit(link.NetkitOptions{Program: p, Interface: i, Attach: s.AttachType})
		return l, where, since(err, "netkit links", "6.7")
	}
	l, err := link.AttachTCX(link.TCXOptions{Program: p, Interface: i, Attach: s.AttachType})
	return l, where, since(err, "tc links", "6.6")
}

// since names the kernel version that a feature takes.
func since(err error, what, version string) error {
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w; %s take Linux %s", err, what, version)
	}
	return err
}

// attachCgroup attaches to a cgroup, with a link, or on kernels before 5.7 so
// that it stays until it is detached.
func attachCgroup(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) ([]Attached, error) {
	if s.Type == ebpf.CGroupSKB && s.SectionName == "cgroup/skb" {
		return nil, errors.New("its section does not say the direction: name it cgroup_skb/ingress or cgroup_skb/egress")
	}
	dir := w.Cgroup
	if dir == "" {
		var err error
		if dir, err = cgroupRoot(); err != nil {
			return nil, err
		}
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("the target has no cgroup %s", dir)
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: dir, Attach: s.AttachType, Program: p})
	if errors.Is(err, unix.EBADF) {
		return nil, fmt.Errorf("%s is no directory of cgroup2", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", dir, err)
	}
	_, err = l.Info()
	return []Attached{{Name: s.Name, Where: "cgroup " + dir, Link: l, stays: errors.Is(err, ebpf.ErrNotSupported)}}, nil
}

// cgroupRoot finds where the hierarchy of cgroup2 is mounted.
func cgroupRoot() (string, error) {
	f, err := os.Open("/proc/mounts")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if w := strings.Fields(sc.Text()); len(w) > 2 && w[2] == "cgroup2" && strings.HasPrefix(w[1], "/sys/") {
			return w[1], nil
		}
	}
	return "", errors.New("no cgroup2 hierarchy is mounted below /sys on the target: give --cgroup DIR")
}

// attachPerfEvent samples every CPU's clock.
func attachPerfEvent(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) ([]Attached, error) {
	cpus, err := onlineCPUs()
	if err != nil {
		return nil, err
	}
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Sample: uint64(w.Frequency), Bits: unix.PerfBitFreq, Size: unix.PERF_ATTR_SIZE_VER1,
	}
	var list []Attached
	for _, cpu := range cpus {
		fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return list, fmt.Errorf("CPU %d cannot be sampled: %w", cpu, err)
		}
		l, err := link.AttachRawLink(link.RawLinkOptions{Program: p, Target: fd, Attach: ebpf.AttachPerfEvent})
		unix.Close(fd)
		if err != nil {
			return list, since(err, "links to perf events", "5.15")
		}
		list = append(list, Attached{Name: fmt.Sprintf("%s_cpu%d", s.Name, cpu), Where: fmt.Sprintf("%d Hz on CPU %d", w.Frequency, cpu), Link: l})
	}
	return list, nil
}

// onlineCPUs reads the kernel's list, for example 0-3,6.
func onlineCPUs() ([]int, error) {
	b, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, err
	}
	var list []int
	for _, r := range strings.Split(strings.TrimSpace(string(b)), ",") {
		lo, hi, ranged := strings.Cut(r, "-")
		first, err := strconv.Atoi(lo)
		last := first
		if err == nil && ranged {
			last, err = strconv.Atoi(hi)
		}
		if err != nil {
			return nil, fmt.Errorf("/sys/devices/system/cpu/online: %w", err)
		}
		for ; first <= last; first++ {
			list = append(list, first)
		}
	}
	return list, nil
}

// matching returns the functions that a pattern with * and ? matches, of those
// that may be probed.
func matching(pattern string) ([]string, error) {
	f, err := os.Open("/sys/kernel/tracing/available_filter_functions")
	if err != nil {
		return nil, fmt.Errorf("the target does not say which functions can be probed: %w", err)
	}
	defer f.Close()
	var list []string
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		name, _, _ := strings.Cut(sc.Text(), " ")
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		} else if ok {
			list = append(list, name)
		}
	}
	if len(list) == 0 && sc.Err() == nil {
		return nil, fmt.Errorf("no function of the target's kernel matches %s", pattern)
	}
	return list, sc.Err()
}
