package loader

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"bpfd/internal/cache"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// firstNumber is the number of the first object of a text session.
const firstNumber = 3

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

// textName is a name as the text protocol has it: one word, not empty.
func textName(name string) string {
	if name = strings.ReplaceAll(name, " ", "_"); name == "" {
		return "__none__"
	}
	return name
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// number gives the next object its number, and notes it.
func (s *Script) number(kind, name, read string) int {
	n := s.next
	s.next++
	s.Objects = append(s.Objects, Numbered{n, kind, name, strings.ReplaceAll(read, "#", fmt.Sprint(n))})
	return n
}

// cpus are the target's.
func (s *Script) cpus() ([]int, error) {
	if s.kernel.Absent {
		return nil, errAbsent("the target's CPUs")
	}
	return onlineCPUs()
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

// Save writes the script as a whole or not at all.
func (s *Script) Save(path string) error {
	if err := cache.WriteFile(path, s.Text, 0o644); err != nil {
		return errFile(path, err)
	}
	return nil
}
