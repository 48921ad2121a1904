package loader

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// firstNumber is the number of the first object of a text session.
const firstNumber = 3

// pageCount is the size of a perf buffer in a text session, in pages.
const pageCount = 64

// Script is a command file for the text protocol that loads an object.
type Script struct {
	Text    []byte
	Objects []Numbered

	object *object
	kernel Kernel
	where  *Where
	next   int
	maps   map[string]int
	progs  map[string]int
}

// Numbered is an object of a script.
type Numbered struct {
	Number int
	Kind   string // map, perf buffer, program
	Name   string
	Read   string // the command that reads it, "" if there is none
}

// Kernel is the one that a script is for.
type Kernel struct {
	Release string
	Absent  bool // it is known by its release alone
}

// RunningKernel is the one that uname(2) names.
func RunningKernel() Kernel { return Kernel{Release: release()} }

// errAbsent is the error if a script takes what only the target can tell.
func errAbsent(what string) error {
	return fmt.Errorf("%s must be asked for: give a target that can be reached to --for, not a release", what)
}

// WriteScript turns an object into a script for a kernel. It takes from o what
// Load does, but for pins.
func WriteScript(o Options, k Kernel) (*Script, error) {
	obj, err := open(o.Object)
	if err != nil {
		return nil, err
	}
	if err := obj.setGlobals(o.Set); err != nil {
		return nil, err
	}
	s := &Script{object: obj, kernel: k, where: &o.Where, next: firstNumber, maps: make(map[string]int), progs: make(map[string]int)}
	if k.Absent && o.BTF == "" && obj.needsKernelTypes() != "" {
		return nil, fmt.Errorf("program %s has CO-RE relocations: give the BTF of Linux %s with --btf FILE", obj.needsKernelTypes(), k.Release)
	}
	if err := s.relocate(o.BTF); err != nil {
		return nil, err
	}
	for _, step := range []func() error{s.createMaps, s.fillMaps, s.openBuffers, s.loadPrograms, s.fillProgramArrays, s.attachPrograms} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// line appends a command.
func (s *Script) line(words ...any) {
	s.Text = fmt.Appendln(s.Text, words...)
}

// number gives the next object its number, and notes it.
func (s *Script) number(kind, name, read string) int {
	n := s.next
	s.next++
	s.Objects = append(s.Objects, Numbered{n, kind, name, strings.ReplaceAll(read, "#", fmt.Sprint(n))})
	return n
}

// before says whether the kernel is older than a version.
func (s *Script) before(major, minor int) bool {
	var a, b int
	fmt.Sscanf(s.kernel.Release, "%d.%d", &a, &b)
	return a < major || a == major && b < minor
}

// versionCode is LINUX_VERSION_CODE, which kprobe programs name before Linux 5.0.
func (s *Script) versionCode() uint32 {
	var a, b, c uint32
	fmt.Sscanf(s.kernel.Release, "%d.%d.%d", &a, &b, &c)
	return a<<16 | b<<8 | min(c, 255)
}

// relocate applies the CO-RE relocations.
func (s *Script) relocate(path string) error {
	if s.object.needsKernelTypes() == "" {
		return nil
	}
	types, err := s.object.kernelTypes(path)
	if err == nil && types == nil {
		types, err = btf.LoadSpec(kernelBTF)
	}
	if err != nil {
		return err
	}
	for name, p := range s.object.spec.Programs {
		var relos []*btf.CORERelocation
		var at []*asm.Instruction
		for i := range p.Instructions {
			if r := btf.CORERelocationMetadata(&p.Instructions[i]); r != nil {
				relos, at = append(relos, r), append(at, &p.Instructions[i])
			}
		}
		var local btf.Builder // the program is loaded without BTF: these numbers mean nothing to the kernel
		fixups, err := btf.CORERelocate(relos, []*btf.Spec{types}, binary.LittleEndian, local.Add)
		if err != nil {
			return fmt.Errorf("program %s: CO-RE relocation: %w", name, err)
		}
		for i := range fixups {
			if err := fixups[i].Apply(at[i]); err != nil {
				return fmt.Errorf("program %s: CO-RE relocation: %w", name, err)
			}
		}
	}
	return nil
}

// needBTF are the types of maps that take BTF or a descriptor at creation,
// which a text session cannot give.
var needBTF = []ebpf.MapType{ebpf.StructOpsMap, ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CgroupStorage,
	ebpf.ArrayOfMaps, ebpf.HashOfMaps}

// inOrder is the maps that the program declares, then those of its variables.
func (s *Script) inOrder() []string {
	return slices.SortedFunc(maps.Keys(s.object.spec.Maps), func(a, b string) int {
		if x, y := strings.HasPrefix(a, "."), strings.HasPrefix(b, "."); x != y {
			return map[bool]int{false: -1, true: 1}[x]
		}
		return strings.Compare(a, b)
	})
}

func (s *Script) createMaps() error {
	for _, name := range s.inOrder() {
		m := s.object.spec.Maps[name]
		if slices.Contains(needBTF, m.Type) {
			return fmt.Errorf("map %s: the text protocol cannot create maps of type %s", name, mapType(m.Type))
		}
		if strings.HasPrefix(name, ".") && s.before(5, 2) {
			return fmt.Errorf("%s has global variables (%s), which take Linux 5.2; the target runs %s", s.object.path, name, s.kernel.Release)
		}
		entries := m.MaxEntries
		if m.Type == ebpf.PerfEventArray && entries == 0 {
			cpus, err := s.cpus()
			if err != nil {
				return err
			}
			entries = uint32(cpus[len(cpus)-1] + 1)
		}
		s.maps[name] = s.number("map", name, readCommand(m))
		s.line("BPF_CREATE_MAP", uint32(m.Type), textName(m.Name), m.KeySize, m.ValueSize, entries, m.Flags)
	}
	return nil
}

// readCommand is the command that prints a map's entries.
func readCommand(m *ebpf.MapSpec) string {
	switch m.Type {
	case ebpf.Hash, ebpf.Array, ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie:
		return fmt.Sprintf("BPF_GET_FIRST_KEY # %d %d 1", m.KeySize, m.ValueSize)
	}
	return ""
}

// textName is a name as the text protocol has it: one word, not empty.
func textName(name string) string {
	if name = strings.ReplaceAll(name, " ", "_"); name == "" {
		return "__none__"
	}
	return name
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// update appends the command that stores an entry.
func (s *Script) update(number int, key, value []byte) {
	s.line("BPF_UPDATE_ELEM", number, base64Of(key), len(key), base64Of(value), len(value), 0)
}

// fillMaps stores what maps hold from the start: the values of global variables.
func (s *Script) fillMaps() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Maps)) {
		m := s.object.spec.Maps[name]
		if m.Type == ebpf.ProgramArray {
			continue
		}
		data, err := s.dataOf(name, m)
		if err != nil {
			return err
		}
		if len(bytes.Trim(data, "\x00")) > 0 {
			s.update(s.maps[name], make([]byte, 4), data)
		}
	}
	return nil
}

// dataOf assembles a section of global variables.
func (s *Script) dataOf(name string, m *ebpf.MapSpec) ([]byte, error) {
	if len(m.Contents) == 0 {
		return nil, nil
	}
	first, ok := m.Contents[0].Value.([]byte)
	if !ok || len(m.Contents) != 1 {
		return nil, fmt.Errorf("map %s: the text protocol cannot store what it holds from the start", name)
	}
	data := bytes.Clone(first)
	for _, v := range s.object.spec.Variables {
		if v.SectionName == name && int(v.Offset)+len(v.Value) <= len(data) {
			copy(data[v.Offset:], v.Value)
		}
	}
	return data, nil
}

// openBuffers opens a perf buffer for each CPU and puts it into the perf arrays.
func (s *Script) openBuffers() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Maps)) {
		if s.object.spec.Maps[name].Type != ebpf.PerfEventArray {
			continue
		}
		cpus, err := s.cpus()
		if err != nil {
			return err
		}
		for _, cpu := range cpus {
			n := s.number("perf buffer", fmt.Sprintf("%s of CPU %d", name, cpu), "PERF_READER_POLL 1000 1 #")
			s.line("BPF_OPEN_PERF_BUFFER", -1, cpu, pageCount)
			s.update(s.maps[name], word(cpu), word(n))
		}
	}
	return nil
}

// word is a native integer of a little-endian machine.
func word(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

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

// cpus are the target's.
func (s *Script) cpus() ([]int, error) {
	if s.kernel.Absent {
		return nil, errAbsent("the target's CPUs")
	}
	return onlineCPUs()
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

// Save writes the script as a whole or not at all.
func (s *Script) Save(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".bpfctl-*.txt")
	if err != nil {
		return errFile(path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(s.Text)
	if e := f.Chmod(0o644); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
