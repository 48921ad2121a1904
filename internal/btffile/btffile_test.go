package btffile

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/ulikunitz/xz"
)

// kernelBTF is the BTF of a small kernel whose struct pt_regs has a member.
func kernelBTF(t *testing.T, structure, member string, order binary.ByteOrder) []byte {
	t.Helper()
	long := &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}
	inner := &btf.Struct{Size: 8, Members: []btf.Member{{Name: member, Type: long}}}
	var types []btf.Type
	types = append(types, &btf.Struct{Name: structure, Size: 8, Members: []btf.Member{{Type: inner}}})
	for _, name := range []string{"vfs_read", "do_exit", "schedule"} {
		types = append(types, &btf.Func{Name: name, Type: &btf.FuncProto{Return: long}, Linkage: btf.GlobalFunc})
	}
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func written(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// archived is a file as BTFHub packs it.
func archived(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	w.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir})
	w.WriteHeader(&tar.Header{Name: "./5.10.0.btf", Typeflag: tar.TypeReg, Size: int64(len(content))})
	w.Write(content)
	w.Close()
	z.Close()
	return b.Bytes()
}

// linked is an ELF file with sections of these names and contents.
func linked(machine elf.Machine, sections ...any) []byte {
	names, content := []byte{0}, []byte{}
	headers := []elf.Section64{{}}
	for i := 0; i < len(sections); i += 2 {
		data := sections[i+1].([]byte)
		headers = append(headers, elf.Section64{Name: uint32(len(names)), Type: uint32(elf.SHT_PROGBITS), Off: uint64(64 + len(content)), Size: uint64(len(data))})
		names, content = append(append(names, sections[i].(string)...), 0), append(content, data...)
	}
	own := uint32(len(names))
	names = append(names, ".shstrtab\x00"...)
	headers = append(headers, elf.Section64{Name: own, Type: uint32(elf.SHT_STRTAB), Off: uint64(64 + len(content)), Size: uint64(len(names))})
	content = append(content, names...)
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Ehsize: 64, Shoff: uint64(64 + len(content)),
		Shentsize: 64, Shnum: uint16(len(headers)), Shstrndx: uint16(len(headers) - 1)}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, &h)
	b.Write(content)
	binary.Write(&b, binary.LittleEndian, headers)
	return b.Bytes()
}

func TestLoad(t *testing.T) {
	arm64, amd64 := kernelBTF(t, "pt_regs", "pstate", binary.LittleEndian), kernelBTF(t, "pt_regs", "r15", binary.LittleEndian)
	flipped := bytes.Clone(arm64)
	copy(flipped[24:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	note := append([]byte{4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0}, "01234567890123456789"...)
	packed := archived(t, arm64)
	for _, c := range []struct {
		name    string
		content []byte
		message string
	}{
		{"BTF", arm64, ""},
		{"ELF", linked(elf.EM_AARCH64, ".notes", note, ".BTF", arm64), ""},
		{"BTFHub", packed, ""},
		{"truncated", arm64[:len(arm64)-5], "is truncated: it should have"},
		{"truncated header", arm64[:10], "is truncated"},
		{"empty", nil, "holds no BTF"},
		{"big endian", kernelBTF(t, "pt_regs", "gprs", binary.BigEndian), "big-endian"},
		{"damaged", flipped, "damaged"},
		{"text", []byte("#define X 1\n"), "holds no BTF"},
		{"other architecture", amd64, "is of a kernel for amd64, but the target's architecture is arm64"},
		{"not a kernel", kernelBTF(t, "event", "pid", binary.LittleEndian), "not of a kernel"},
		{"ELF of another architecture", linked(elf.EM_X86_64, ".BTF", amd64), "EM_X86_64"},
		{"ELF without", linked(elf.EM_AARCH64, ".text", note), "has no section .BTF"},
		{"damaged ELF", linked(elf.EM_AARCH64, ".BTF", arm64)[:70], "damaged ELF"},
		{"truncated archive", packed[:len(packed)/2], "truncated"},
		{"archive of something else", archived(t, []byte("hello")), "holds no BTF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Load(written(t, "kernel", c.content), "arm64")
			if c.message != "" {
				if err == nil || !strings.Contains(err.Error(), c.message) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || !bytes.Equal(f.Data, arm64) {
				t.Fatalf("%v", err)
			}
			if c.name == "ELF" && string(f.BuildID) != "01234567890123456789" {
				t.Errorf("build-id %x", f.BuildID)
			}
		})
	}
	if _, err := Load("/nonexistent/btf", "arm64"); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestForeign(t *testing.T) {
	f, err := Load(written(t, "btf", kernelBTF(t, "pt_regs", "r15", binary.LittleEndian)), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	foreign, all, example := f.Foreign([]byte("0000 T vfs_read\n0000 t schedule.isra.0\n0000 t x\t[module]\n"))
	if foreign != 1 || all != 3 || example != "do_exit" {
		t.Errorf("%d of %d, %q", foreign, all, example)
	}
}

// The kernel that runs here has what its own BTF names.
func TestOwnKernel(t *testing.T) {
	const own = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(own); err != nil {
		t.Skip("this kernel has no BTF")
	}
	f, err := Load(own, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	kallsyms, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	if foreign, all, example := f.Foreign(kallsyms); foreign*Tolerance > all {
		t.Errorf("%d of %d functions are foreign, %s for one", foreign, all, example)
	}
}
