// Package btffile reads type information (BTF) from a file, which stands in
// for that of a kernel that was built without.
package btffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"archive/tar"

	"github.com/cilium/ebpf/btf"
	"github.com/ulikunitz/xz"
)

// File is the type information of a kernel.
type File struct {
	Data    []byte // as /sys/kernel/btf/vmlinux has it
	BuildID []byte // of the kernel that it is of, nil if the file does not tell

	spec      *btf.Spec
	functions []string
}

// maxBTF bounds what is taken for type information, in bytes: a kernel's takes 5 MB.
const maxBTF = 256 << 20

// Load reads a file in one of three forms: as /sys/kernel/btf/vmlinux is; an
// ELF file with a section .BTF, a vmlinux for one; a .btf.tar.xz as BTFHub
// has. It must be of a kernel for an architecture, in Go's spelling.
func Load(path, arch string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := &File{}
	if err := b.read(f, arch); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := b.parse(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := b.check(arch); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// The first bytes of the forms.
var (
	magicBTF     = []byte{0x9f, 0xeb}
	magicSwapped = []byte{0xeb, 0x9f}
	magicXZ      = []byte("\xfd7zXZ\x00")
)

func (b *File) read(f *os.File, arch string) error {
	head := make([]byte, len(magicXZ))
	if _, err := io.ReadFull(f, head); err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var err error
	switch {
	case bytes.HasPrefix(head, magicBTF), bytes.HasPrefix(head, magicSwapped):
		b.Data, err = io.ReadAll(io.LimitReader(f, maxBTF))
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		err = b.readELF(f, arch)
	case bytes.HasPrefix(head, magicXZ):
		b.Data, err = unpack(f)
	default:
		err = errors.New("holds no BTF: it is neither BTF nor an ELF file nor a .tar.xz")
	}
	return err
}

// machines are ELF's names of architectures.
var machines = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64"}

func (b *File) readELF(f *os.File, arch string) error {
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("is a damaged ELF file: %w", err)
	}
	if m := machines[e.Machine]; m != arch {
		return fmt.Errorf("is for %v, but the target's architecture is %s", e.Machine, arch)
	}
	s := e.Section(".BTF")
	if s == nil {
		return errors.New("has no section .BTF: it was built without CONFIG_DEBUG_INFO_BTF; pahole -J adds one if it has debug information")
	}
	b.Data, err = s.Data()
	if notes := e.Section(".notes"); err == nil && notes != nil {
		b.BuildID = buildID(notes)
	}
	return err
}

// buildID finds NT_GNU_BUILD_ID among the notes that the kernel's linker script
// collects, elf(5).
func buildID(notes *elf.Section) []byte {
	data, err := notes.Data()
	if err != nil {
		return nil
	}
	mark := []byte{4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0}
	_, id, ok := bytes.Cut(data, mark)
	if !ok || len(id) < 20 {
		return nil
	}
	return id[:20]
}

// unpack returns the first file of an archive.
func unpack(r io.Reader) ([]byte, error) {
	z, err := xz.NewReader(r)
	if err != nil {
		return nil, damaged(err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil, errors.New("is an archive without a file")
		}
		if err != nil {
			return nil, damaged(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(t, maxBTF))
		if err != nil {
			return nil, damaged(err)
		}
		return b, nil
	}
}

func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("is truncated")
	}
	return fmt.Errorf("is a damaged archive: %w", err)
}

// header is struct btf_header, include/uapi/linux/btf.h.
type header struct {
	Magic                            uint16
	Version, Flags                   uint8
	HdrLen                           uint32
	TypeOff, TypeLen, StrOff, StrLen uint32
}

// parse decodes the data. All architectures that bpfd runs on are little endian.
func (b *File) parse() error {
	if bytes.HasPrefix(b.Data, magicSwapped) {
		return errors.New("holds the BTF of a big-endian machine")
	}
	if !bytes.HasPrefix(b.Data, magicBTF) {
		return errors.New("holds no BTF")
	}
	var h header
	if binary.Read(bytes.NewReader(b.Data), binary.LittleEndian, &h) != nil {
		return errors.New("is truncated")
	}
	end := uint64(h.HdrLen) + max(uint64(h.TypeOff)+uint64(h.TypeLen), uint64(h.StrOff)+uint64(h.StrLen))
	if end > uint64(len(b.Data)) {
		return fmt.Errorf("is truncated: it should have %d bytes and has %d", end, len(b.Data))
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(b.Data))
	if err != nil {
		return fmt.Errorf("holds damaged BTF: %w", err)
	}
	b.spec = spec
	for t, err := range spec.All() {
		if err != nil {
			return fmt.Errorf("holds damaged BTF: %w", err)
		}
		if f, ok := t.(*btf.Func); ok {
			b.functions = append(b.functions, f.Name)
		}
	}
	return nil
}

// registers are members of struct pt_regs by which architectures are told apart.
var registers = []struct{ member, arch string }{
	{"r15", "amd64"}, {"pstate", "arm64"}, {"uregs", "arm"}, {"epc", "riscv64"}, {"gprs", "s390x"}, {"gpr", "ppc64le"}, {"bx", "386"},
}

// check looks for what every kernel for the architecture has.
func (b *File) check(arch string) error {
	members := b.members("pt_regs")
	if members == nil {
		return errors.New("holds BTF, but not of a kernel: it has no struct pt_regs")
	}
	for _, r := range registers {
		if !has(members, r.member) {
			continue
		}
		if r.arch != arch {
			return fmt.Errorf("is of a kernel for %s, but the target's architecture is %s", r.arch, arch)
		}
		return nil
	}
	return nil
}

// members returns those of a structure, nil if there is none of that name.
func (b *File) members(name string) []btf.Member {
	types, err := b.spec.AnyTypesByName(name)
	if err != nil {
		return nil
	}
	for _, t := range types {
		if s, ok := t.(*btf.Struct); ok {
			return s.Members
		}
	}
	return nil
}

// has says whether a structure has a member, also inside of its members
// without a name.
func has(members []btf.Member, name string) bool {
	for _, m := range members {
		if m.Name == name {
			return true
		}
		if m.Name != "" {
			continue
		}
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			if has(t.Members, name) {
				return true
			}
		case *btf.Union:
			if has(t.Members, name) {
				return true
			}
		}
	}
	return false
}

// Tolerance is one over the part of a kernel's own functions that it may lack:
// some are inlined everywhere.
const Tolerance = 100

// Foreign returns how many of the kernel's functions that the file knows are
// not among the symbols of a kernel, /proc/kallsyms; how many it knows; and the
// name of one of them. A kernel has nearly all that its BTF names.
func (b *File) Foreign(kallsyms []byte) (foreign, all int, example string) {
	symbols := make(map[string]bool)
	for line := range bytes.Lines(kallsyms) {
		if f := bytes.Fields(line); len(f) >= 3 {
			name, _, _ := bytes.Cut(f[2], []byte(".")) // .isra.0, .constprop.1
			symbols[string(name)] = true
		}
	}
	for _, name := range b.functions {
		if !symbols[name] {
			foreign, example = foreign+1, name
		}
	}
	return foreign, len(b.functions), example
}
