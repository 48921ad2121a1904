// Package loader loads compiled BPF objects and leaves them there, lists what
// is loaded, and removes it again.
//
// It uses bpf(2), /sys and /proc as any program does and knows nothing of a
// target: bpfctl runs it where all three are the target's.
package loader

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// object is a parsed object file that may be loaded.
type object struct {
	path   string
	spec   *ebpf.CollectionSpec
	events map[string]btf.Type // by map: what its records are, if the definition says so
}

// open reads an object file and checks what can be checked without a kernel.
func open(path string) (*object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errFile(path, err)
	}
	defer f.Close()
	if err := checkELF(f, path); err != nil {
		return nil, err
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	o := &object{path: path, spec: spec, events: make(map[string]btf.Type)}
	if len(spec.Programs) == 0 && len(spec.Maps) == 0 {
		return nil, fmt.Errorf("%s holds neither programs nor maps; was it compiled with clang -target bpf, and has each program a SEC(\"…\")?", path)
	}
	if err := o.checkPrograms(); err != nil {
		return nil, err
	}
	o.takeEventTypes()
	return o, nil
}

// checkELF refuses what is no BPF object of this byte order: all targets are
// little-endian, as is the host.
func checkELF(f *os.File, path string) error {
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s is no object file: %s", path, strings.TrimPrefix(err.Error(), "bad magic number "))
	}
	defer e.Close()
	if e.Machine != elf.EM_BPF && e.Machine != elf.EM_NONE {
		return fmt.Errorf("%s was compiled for %s, not for BPF: use clang -target bpf, or bpfctl build", path, e.Machine)
	}
	if e.ByteOrder != binary.ByteOrder(binary.LittleEndian) {
		return fmt.Errorf("%s is big-endian, the target is little-endian: compile it with -target bpfel, or with bpfctl build", path)
	}
	return nil
}

// checkPrograms refuses programs whose sections name no type.
func (o *object) checkPrograms() error {
	for _, name := range slices.Sorted(maps.Keys(o.spec.Programs)) {
		p := o.spec.Programs[name]
		if p.Type == ebpf.UnspecifiedProgram {
			return fmt.Errorf("%s: section %q of program %s names no known program type; sections are named as libbpf wants them, for example \"kprobe/do_sys_open\", \"tracepoint/sched/sched_switch\", \"xdp\" or \"cgroup_skb/egress\"", o.path, p.SectionName, name)
		}
		if strings.HasPrefix(p.SectionName, "?") {
			delete(o.spec.Programs, name) // libbpf: not loaded unless asked for
		}
	}
	return nil
}

// takeEventTypes takes the value types out of the definitions of ring and perf
// buffers: the kernel wants none there, to us they say what the records are.
func (o *object) takeEventTypes() {
	for name, m := range o.spec.Maps {
		if !carriesEvents(m.Type) {
			continue
		}
		if m.Value != nil {
			if _, ok := btf.As[*btf.Struct](m.Value); ok {
				o.events[name] = m.Value
			}
		}
		m.Key, m.Value = nil, nil
		if m.Type == ebpf.RingBuf {
			m.KeySize, m.ValueSize = 0, 0
		} else {
			m.KeySize, m.ValueSize = 4, 4
		}
	}
}

func carriesEvents(t ebpf.MapType) bool { return t == ebpf.RingBuf || t == ebpf.PerfEventArray }

// needsKernelTypes says which program has relocations against the kernel's types.
func (o *object) needsKernelTypes() string {
	for _, name := range slices.Sorted(maps.Keys(o.spec.Programs)) {
		for i := range o.spec.Programs[name].Instructions {
			if btf.CORERelocationMetadata(&o.spec.Programs[name].Instructions[i]) != nil {
				return name
			}
		}
	}
	return ""
}

// kernelBTF is where a kernel shows its types, since Linux 5.4 with CONFIG_DEBUG_INFO_BTF.
const kernelBTF = "/sys/kernel/btf/vmlinux"

// kernelTypes returns what to relocate against: the types of a file, or nil
// for those of the running kernel.
func (o *object) kernelTypes(path string) (*btf.Spec, error) {
	if path != "" {
		spec, err := btf.LoadSpec(path)
		if err != nil {
			return nil, fmt.Errorf("%s holds no BTF: %w", path, err)
		}
		return spec, nil
	}
	prog := o.needsKernelTypes()
	if prog == "" {
		return nil, nil
	}
	if _, err := os.Stat(kernelBTF); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("program %s has CO-RE relocations, and the target's kernel has no BTF (%s is missing): give its BTF with --btf FILE, for example from BTFHub", prog, kernelBTF)
	} else if err != nil {
		return nil, fmt.Errorf("the target's BTF cannot be read: %w", err)
	}
	return nil, nil
}

// errFile says why a file of the host cannot be opened.
func errFile(path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// pinName is the name under which an object is pinned: a bpf file system
// allows no dots.
func pinName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// bpffs is where kernels and daemons mount the bpf file system.
const bpffs = "/sys/fs/bpf"

// PinPath makes a path below the bpf file system of what the user gave.
func PinPath(dir string) (string, error) {
	p := dir
	if !filepath.IsAbs(p) {
		p = filepath.Join(bpffs, p)
	}
	p = filepath.Clean(p)
	rel, ok := strings.CutPrefix(p, bpffs+"/")
	if !ok {
		return "", fmt.Errorf("%s is not in the target's bpf file system: give a path below %s, or one relative to it", dir, bpffs)
	}
	if strings.Contains(rel, ".") {
		return "", fmt.Errorf("%s: a bpf file system allows no dots in names", dir)
	}
	return p, nil
}
