package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

func (s *Script) loadPrograms() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Programs)) {
		p := s.object.spec.Programs[name]
		if !s.attachable(p) {
			return fmt.Errorf("program %s (%s): the text protocol attaches kprobes, uprobes, tracepoints and perf events, and no other programs", name, p.SectionName)
		}
		insns, err := s.instructions(p)
		if err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
		s.progs[name] = s.number("program", name, "")
		s.line("BPF_PROG_LOAD", uint32(p.Type), textName(name), len(insns), license(p.License), s.versionCode(), base64Of(insns))
	}
	return nil
}

// license is one word: those of the kernel's list that have several permit the
// same functions as GPL (license_is_gpl_compatible).
func license(l string) string {
	switch l {
	case "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL":
		return "GPL"
	}
	return textName(l)
}

// fd is the number of a map, in the place of its descriptor.
type fd int

func (f fd) FD() int { return int(f) }

// instructions links a program with the numbers of its maps.
func (s *Script) instructions(p *ebpf.ProgramSpec) ([]byte, error) {
	list := slices.Clone(p.Instructions)
	for i := range list {
		in := &list[i]
		switch {
		case in.IsKfuncCall():
			return nil, fmt.Errorf("it calls the kernel function %s, which takes BTF", in.Reference())
		case in.IsLoadOfFunctionPointer():
			return nil, fmt.Errorf("it passes the function %s, which takes BTF", in.Reference())
		case in.IsLoadFromMap():
			n, ok := s.maps[in.Reference()]
			if !ok {
				return nil, errors.New("it has variables that the kernel's configuration or symbols fill in (__kconfig, __ksym), which the text protocol cannot provide")
			}
			if err := in.AssociateMap(fd(n)); err != nil {
				return nil, err
			}
		case in.IsBuiltinCall() && s.before(5, 5):
			in.Constant = olderHelper(in.Constant)
		}
	}
	var b bytes.Buffer
	err := list.Marshal(&b, binary.LittleEndian)
	return b.Bytes(), err
}

// olderHelper is the function that kernels before 5.5 have instead.
func olderHelper(f int64) int64 {
	switch asm.BuiltinFunc(f) {
	case asm.FnProbeReadKernel, asm.FnProbeReadUser:
		return int64(asm.FnProbeRead)
	case asm.FnProbeReadKernelStr, asm.FnProbeReadUserStr:
		return int64(asm.FnProbeReadStr)
	}
	return f
}

// fillProgramArrays stores programs for tail calls.
func (s *Script) fillProgramArrays() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Maps)) {
		m := s.object.spec.Maps[name]
		if m.Type != ebpf.ProgramArray {
			continue
		}
		for _, kv := range m.Contents {
			prog, ok := kv.Value.(string)
			index, isIndex := kv.Key.(uint32)
			if !ok || !isIndex || s.progs[prog] == 0 {
				return fmt.Errorf("map %s: entry %v is no program of %s", name, kv.Key, s.object.path)
			}
			s.update(s.maps[name], word(int(index)), word(s.progs[prog]))
		}
	}
	return nil
}

// attachable says whether there is a command that attaches a program.
func (s *Script) attachable(p *ebpf.ProgramSpec) bool {
	switch p.Type {
	case ebpf.TracePoint, ebpf.PerfEvent:
		return true
	case ebpf.Kprobe:
		return scriptProbes[probeKind(p)] != nil
	}
	return false
}

func probeKind(p *ebpf.ProgramSpec) string {
	kind, _, _ := strings.Cut(p.SectionName, "/")
	return kind
}

// scriptProbes write the commands that attach probes.
var scriptProbes = map[string]func(s *Script, n int, p *ebpf.ProgramSpec) error{
	"kprobe":    func(s *Script, n int, p *ebpf.ProgramSpec) error { return s.attachKprobe(n, 0, p) },
	"kretprobe": func(s *Script, n int, p *ebpf.ProgramSpec) error { return s.attachKprobe(n, 1, p) },
	"uprobe":    func(s *Script, n int, p *ebpf.ProgramSpec) error { return s.attachUprobe(n, 0, p) },
	"uretprobe": func(s *Script, n int, p *ebpf.ProgramSpec) error { return s.attachUprobe(n, 1, p) },
}

func (s *Script) attachPrograms() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Programs)) {
		p, n := s.object.spec.Programs[name], s.progs[name]
		var err error
		switch p.Type {
		case ebpf.TracePoint:
			group, event, ok := strings.Cut(p.AttachTo, "/")
			if !ok {
				return fmt.Errorf("program %s (%s): a tracepoint's section is named tracepoint/GROUP/NAME", name, p.SectionName)
			}
			s.line("BPF_ATTACH_TRACEPOINT", n, group, event)
		case ebpf.PerfEvent:
			err = s.sample(n)
		default:
			err = scriptProbes[probeKind(p)](s, n, p)
		}
		if err != nil {
			return fmt.Errorf("program %s (%s): %w", name, p.SectionName, err)
		}
	}
	return nil
}

// eventName is unique within the script.
func eventName(kind, number int) string { return fmt.Sprintf("%c_bpfctl_%d", "pr"[kind], number) }

func (s *Script) attachKprobe(n, kind int, p *ebpf.ProgramSpec) error {
	function, off, err := symbolOffset(p.AttachTo)
	if err != nil {
		return err
	}
	if off == 0 {
		s.line("BPF_ATTACH_KPROBE", n, kind, eventName(kind, n), function)
	} else {
		s.line("BPF_ATTACH_KPROBE", n, kind, eventName(kind, n), function, off, 0)
	}
	return nil
}

// attachUprobe looks the symbol up in the target's file.
func (s *Script) attachUprobe(n, kind int, p *ebpf.ProgramSpec) error {
	file, symbol, ok := strings.Cut(p.AttachTo, ":")
	if !ok {
		return errors.New("its section names no symbol: name it uprobe/PATH:SYMBOL")
	}
	if s.kernel.Absent {
		return errAbsent("the place of a symbol in the target's " + file)
	}
	path, err := s.where.find(file)
	if err != nil {
		return err
	}
	name, off, err := symbolOffset(symbol)
	if err != nil {
		return err
	}
	at, err := fileOffset(path, name)
	if err != nil {
		return err
	}
	s.line("BPF_ATTACH_UPROBE", n, kind, eventName(kind, n), strings.TrimPrefix(path, s.where.Root), at+off, -1)
	return nil
}

// sample attaches to every CPU's clock: PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK.
func (s *Script) sample(n int) error {
	cpus, err := s.cpus()
	if err != nil {
		return err
	}
	for _, cpu := range cpus {
		s.line("BPF_ATTACH_PERF_EVENT", n, 1, 0, 0, s.where.Frequency, -1, cpu, -1)
	}
	return nil
}
