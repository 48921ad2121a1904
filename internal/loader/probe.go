package loader

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// probes are the kinds of probes that share a program type, by the first part
// of the section's name without a trailing ".s".
var probes = map[string]func(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error){
	"kprobe": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachKprobe(s, p, link.Kprobe)
	},
	"kretprobe": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachKprobe(s, p, link.Kretprobe)
	},
	"ksyscall": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachSyscall(s, p, link.Kprobe)
	},
	"kretsyscall": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachSyscall(s, p, link.Kretprobe)
	},
	"kprobe.multi": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachMulti(s, p, link.KprobeMulti)
	},
	"kretprobe.multi": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachMulti(s, p, link.KretprobeMulti)
	},
	"kprobe.session": func(_ *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachMulti(s, p, link.KprobeMulti)
	},
	"uprobe": func(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachUprobe(w, s, p, (*link.Executable).Uprobe)
	},
	"uretprobe": func(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachUprobe(w, s, p, (*link.Executable).Uretprobe)
	},
	"uprobe.multi": func(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachUprobes(w, s, p, (*link.Executable).UprobeMulti)
	},
	"uretprobe.multi": func(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, string, error) {
		return attachUprobes(w, s, p, (*link.Executable).UretprobeMulti)
	},
	"usdt": func(*Where, *ebpf.ProgramSpec, *ebpf.Program) (link.Link, string, error) {
		return nil, "", errAlone("USDT takes the tables of libbpf")
	},
}

func attachProbe(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program) ([]Attached, error) {
	kind, _, _ := strings.Cut(s.SectionName, "/")
	f := probes[strings.TrimSuffix(kind, ".s")]
	if f == nil {
		return nil, errAlone("nothing is known of " + kind)
	}
	if s.AttachTo == "" {
		return nil, fmt.Errorf("its section names no function: name it %s/FUNCTION", kind)
	}
	return one(f)(w, s, p)
}

// symbolOffset splits FUNCTION+OFFSET.
func symbolOffset(text string) (string, uint64, error) {
	name, off, ok := strings.Cut(text, "+")
	if !ok {
		return name, 0, nil
	}
	n, err := strconv.ParseUint(off, 0, 64)
	if err != nil {
		return "", 0, fmt.Errorf("%q: %q is no offset", text, off)
	}
	return name, n, nil
}

type kprobe func(string, *ebpf.Program, *link.KprobeOptions) (link.Link, error)

func attachKprobe(s *ebpf.ProgramSpec, p *ebpf.Program, attach kprobe) (link.Link, string, error) {
	name, off, err := symbolOffset(s.AttachTo)
	if err != nil {
		return nil, "", err
	}
	l, err := attach(name, p, &link.KprobeOptions{Offset: off})
	return l, s.SectionName, explainKprobe(name, err)
}

func explainKprobe(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, e := os.Stat("/sys/bus/event_source/devices/kprobe"); e != nil {
		if _, e := os.Stat("/sys/kernel/tracing/kprobe_events"); e != nil {
			return errors.New("the target's kernel has no kprobes (CONFIG_KPROBES)")
		}
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the target's kernel has no function %s that may be probed", name)
	}
	return err
}

// syscallPrefixes are those of system call functions, by machine; the last is
// that of kernels before 4.17.
var syscallPrefixes = map[string][]string{
	"x86_64":  {"__x64_sys_", "sys_"},
	"aarch64": {"__arm64_sys_", "sys_"},
	"riscv64": {"__riscv_sys_", "sys_"},
}

func attachSyscall(s *ebpf.ProgramSpec, p *ebpf.Program, attach kprobe) (link.Link, string, error) {
	var u unix.Utsname
	unix.Uname(&u)
	prefixes := syscallPrefixes[unix.ByteSliceToString(u.Machine[:])]
	if prefixes == nil {
		prefixes = []string{"sys_"}
	}
	var err error
	for _, prefix := range prefixes {
		var l link.Link
		if l, err = attach(prefix+s.AttachTo, p, nil); err == nil {
			return l, s.SectionName, nil
		}
	}
	return nil, "", explainKprobe(prefixes[0]+s.AttachTo, err)
}

func attachMulti(s *ebpf.ProgramSpec, p *ebpf.Program, attach func(*ebpf.Program, link.KprobeMultiOptions) (link.Link, error)) (link.Link, string, error) {
	list, err := matching(s.AttachTo)
	if err != nil {
		return nil, "", err
	}
	session := strings.HasPrefix(s.SectionName, "kprobe.session")
	l, err := attach(p, link.KprobeMultiOptions{Symbols: list, Session: session})
	return l, fmt.Sprintf("%s (%d functions)", s.SectionName, len(list)), since(err, "links to many kprobes", "5.18")
}

// executable opens a file of the target that a section names as
// PATH:SYMBOL[+OFFSET], and looks for libraries where Linux systems and
// Android have them.
func (w *Where) executable(s *ebpf.ProgramSpec) (*link.Executable, string, error) {
	file, symbol, ok := strings.Cut(s.AttachTo, ":")
	if !ok {
		return nil, "", errors.New("its section names no symbol: name it uprobe/PATH:SYMBOL")
	}
	path, err := w.find(file)
	if err != nil {
		return nil, "", err
	}
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, "", fmt.Errorf("%s on the target: %w", strings.TrimPrefix(path, w.Root), err)
	}
	return ex, symbol, nil
}

var libraryDirs = []string{
	"/usr/bin", "/usr/sbin", "/bin", "/system/bin", "/usr/lib/*-linux-gnu*", "/lib/*-linux-gnu*", "/usr/lib64", "/lib64",
	"/usr/lib", "/lib", "/system/lib64", "/apex/com.android.runtime/lib64/bionic", "/system/lib",
}

func (w *Where) find(file string) (string, error) {
	if filepath.IsAbs(file) {
		p := filepath.Join(w.Root, file)
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("the target has no file %s", file)
		}
		return p, nil
	}
	for _, dir := range libraryDirs {
		for _, name := range []string{file, file + ".so.[0-9]*", file + ".so"} {
			list, _ := filepath.Glob(filepath.Join(w.Root, dir, name))
			for _, p := range list {
				if isELF(p) {
					return p, nil
				}
			}
		}
	}
	return "", fmt.Errorf("the target has no program or library %s: give the whole path in the section's name", file)
}

// isELF tells programs and libraries from scripts, of which libc.so is one.
func isELF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, len(elf.ELFMAG))
	_, err = io.ReadFull(f, magic)
	return err == nil && string(magic) == elf.ELFMAG
}

func attachUprobe(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program, attach func(*link.Executable, string, *ebpf.Program, *link.UprobeOptions) (link.Link, error)) (link.Link, string, error) {
	ex, symbol, err := w.executable(s)
	if err != nil {
		return nil, "", err
	}
	name, off, err := symbolOffset(symbol)
	if err != nil {
		return nil, "", err
	}
	l, err := attach(ex, name, p, &link.UprobeOptions{Offset: off})
	if errors.Is(err, link.ErrNoSymbol) || errors.Is(err, ebpf.ErrNotSupported) { // the latter: one of another library
		return nil, "", fmt.Errorf("the target's file has no symbol %s", name)
	}
	return l, s.SectionName, err
}

func attachUprobes(w *Where, s *ebpf.ProgramSpec, p *ebpf.Program, attach func(*link.Executable, []string, *ebpf.Program, *link.UprobeMultiOptions) (link.Link, error)) (link.Link, string, error) {
	ex, symbol, err := w.executable(s)
	if err != nil {
		return nil, "", err
	}
	l, err := attach(ex, []string{symbol}, p, nil)
	return l, s.SectionName, since(err, "links to many uprobes", "6.6")
}

// fileOffset returns where in an ELF file a function begins.
func fileOffset(path, name string) (uint64, error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	symbols, _ := f.Symbols() // stripped files have none
	dynamic, _ := f.DynamicSymbols()
	for _, sym := range append(symbols, dynamic...) {
		if sym.Name != name || elf.ST_TYPE(sym.Info) != elf.STT_FUNC || sym.Value == 0 {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && sym.Value >= p.Vaddr && sym.Value < p.Vaddr+p.Memsz {
				return sym.Value - p.Vaddr + p.Off, nil
			}
		}
	}
	return 0, fmt.Errorf("the target's file has no symbol %s", name)
}
