// Package compile makes BPF objects of C programs with clang, for the kernel
// that /sys and uname(2) show: bpfctl runs it where these are a target's.
package compile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"bpfd/internal/cache"

	"golang.org/x/sys/unix"
)

// Options say what to compile.
type Options struct {
	Source string
	Output string   // "" for the source's name with .o, in the current directory
	BTF    string   // types for vmlinux.h, "" for those of the running kernel
	Flags  []string // for clang
	Stderr io.Writer
	Warn   func(string)
}

// ErrRefused is the error if clang has said what is wrong with the source.
var ErrRefused = errors.New("clang found errors")

// kernelBTF is where a kernel shows its types.
const kernelBTF = "/sys/kernel/btf/vmlinux"

// arches are the names that libbpf's bpf_tracing.h has for machines; it finds
// the registers of a kprobe's arguments by them.
var arches = map[string]string{
	"x86_64": "x86", "i686": "x86", "aarch64": "arm64", "armv7l": "arm", "armv8l": "arm", "armv6l": "arm", "riscv64": "riscv",
}

// Build compiles a program and returns the name of the object.
func Build(o Options) (string, error) {
	if _, err := os.Stat(o.Source); err != nil {
		return "", fmt.Errorf("%s: %w", o.Source, errors.Unwrap(err))
	}
	if _, err := exec.LookPath("clang"); err != nil {
		return "", errors.New("clang is not installed here: install the package clang")
	}
	out := o.Output
	if out == "" {
		out = strings.TrimSuffix(filepath.Base(o.Source), ".c") + ".o"
	}
	args, err := targetFlags()
	if err != nil {
		return "", err
	}
	args = append(args, o.Flags...)
	include, err := o.vmlinux(args)
	if err != nil {
		return "", err
	}
	if include != "" {
		args = append(args, "-I", include)
	}
	return out, o.compile(out, args)
}

// targetFlags are clang's flags for the kernel.
func targetFlags() ([]string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	machine := unix.ByteSliceToString(u.Machine[:])
	arch := arches[machine]
	if arch == "" {
		return nil, fmt.Errorf("the target's machine, %s, is none that libbpf's headers are known to serve here", machine)
	}
	flags := []string{"-target", "bpfel", "-g", "-O2", "-Wall", "-mcpu=" + cpu(unix.ByteSliceToString(u.Release[:])), "-D__TARGET_ARCH_" + arch}
	// Debian keeps asm/types.h, which linux/bpf.h needs, in a directory for
	// each machine; the host's is as good as the target's.
	dirs, _ := filepath.Glob("/usr/include/*-linux-gnu*/asm")
	for _, d := range dirs {
		flags = append(flags, "-idirafter", filepath.Dir(d))
	}
	return flags, nil
}

// cpu is the instruction set that a kernel takes: v2 came with Linux 4.14, v3
// with 5.1, and with 5.12 the atomic operations that clang uses in v3.
func cpu(release string) string {
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	switch v := major*1000 + minor; {
	case v >= 5012:
		return "v3"
	case v >= 4014:
		return "v2"
	}
	return "v1"
}

// vmlinux returns the directory of a vmlinux.h with the kernel's types, "" if
// the program does not include it.
func (o *Options) vmlinux(flags []string) (string, error) {
	deps := exec.Command("clang", append(flags, "-MM", "-MG", o.Source)...)
	list, err := deps.Output()
	if err != nil {
		return "", nil // what is wrong is said when it is compiled
	}
	words := strings.Fields(string(list))
	i := len(words) - 1
	for i >= 0 && filepath.Base(words[i]) != "vmlinux.h" {
		i--
	}
	if i < 0 {
		return "", nil
	}
	if _, err := os.Stat(words[i]); err == nil {
		o.Warn(fmt.Sprintf("%s is used, which may not be the target's; without it one is made of the target's types", words[i]))
		return "", nil
	}
	return o.makeVmlinux()
}

// makeVmlinux has bpftool write the kernel's types as C, once for each kernel.
func (o *Options) makeVmlinux() (string, error) {
	path := o.BTF
	if path == "" {
		path = kernelBTF
	}
	btf, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && o.BTF == "":
		return "", fmt.Errorf("the target's kernel has no BTF (%s is missing), of which vmlinux.h would be made: give its BTF with --btf FILE, or include the kernel's headers instead", kernelBTF)
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	dir := cache.Path("vmlinux", fmt.Sprintf("%x", sha256.Sum256(btf)))
	header := filepath.Join(dir, "vmlinux.h")
	if _, err := os.Stat(header); err == nil {
		return dir, nil
	}
	bpftool, err := findBpftool()
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	dump := exec.Command(bpftool, "btf", "dump", "file", path, "format", "c")
	dump.Stderr = &stderr
	text, err := dump.Output()
	if err != nil {
		return "", fmt.Errorf("bpftool cannot make a vmlinux.h of %s: %s", path, strings.TrimSpace(stderr.String()))
	}
	if err := cache.Put(header, text, 0o644); err != nil {
		return "", cache.Failure("vmlinux.h", dir, err)
	}
	return dir, nil
}

// findBpftool looks where distributions put it, which is not in the path of
// every user.
func findBpftool() (string, error) {
	for _, name := range []string{"bpftool", "/usr/sbin/bpftool", "/usr/local/sbin/bpftool"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", errors.New("bpftool is not installed here, which makes vmlinux.h: install the package bpftool (on Ubuntu linux-tools-generic)")
}

// compile runs clang. The object appears under its name when it is whole.
func (o *Options) compile(out string, args []string) error {
	f, err := os.CreateTemp(filepath.Dir(out), ".bpfctl-*.o")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", out, errors.Unwrap(err))
	}
	f.Close()
	defer os.Remove(f.Name())
	var said bytes.Buffer
	clang := exec.Command("clang", append(args, "-c", o.Source, "-o", f.Name())...)
	clang.Stderr = io.MultiWriter(o.Stderr, &said)
	err = clang.Run()
	if hint := missing(said.String()); hint != "" {
		return errors.New(hint)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return ErrRefused
	} else if err != nil {
		return fmt.Errorf("clang: %w", err)
	}
	if strip, err := exec.LookPath("llvm-strip"); err == nil {
		// DWARF is of no use to a loader; BTF stays.
		if msg, err := exec.Command(strip, "-g", f.Name()).CombinedOutput(); err != nil {
			return fmt.Errorf("llvm-strip: %s", bytes.TrimSpace(msg))
		}
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}

// notFound matches clang's complaint about a header.
var notFound = regexp.MustCompile(`fatal error: '([^']+)' file not found`)

// packages are what headers come with, by the directory of the header.
var packages = map[string]string{"bpf": "libbpf-dev", "linux": "linux-libc-dev", "asm": "linux-libc-dev", "asm-generic": "linux-libc-dev"}

// missing names the package of a header that clang did not find.
func missing(said string) string {
	m := notFound.FindStringSubmatch(said)
	if m == nil {
		return ""
	}
	pkg := packages[filepath.Dir(m[1])]
	if pkg == "" {
		return ""
	}
	return fmt.Sprintf("%s is not installed here: install the package %s", m[1], pkg)
}
