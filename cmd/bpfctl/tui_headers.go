package main

import (
	"fmt"
	"os"
	"strings"

	"bpfd/internal/headers"

	"golang.org/x/sys/unix"
)

const (
	headersUsage = "kernel headers of the target are in this `directory`"
	headersShort = "say where the target's kernel headers are, or get them"
	headersLong  = `headers says where the kernel headers of the target are that tools will see in
/lib/modules, and where they could come from. bcc's tools compile against them,
bpftrace reads them when the target has no BTF.

They are looked for in this order: the directory that --headers or
BCC_KERNEL_SOURCE names; those that were got before; the target's own
/sys/kernel/kheaders.tar.xz, which is transferred when a tool first looks for
headers; /lib/modules/RELEASE/build of this machine, if it has the target's
release. A distribution's package is fetched only by --fetch, with the package
manager of this machine; nothing is installed, and no root is needed.`
	headersExample = `  bpfctl headers -t root@board
  bpfctl headers -t root@board --fetch`
	btfUsage       = "type information (BTF) for a target whose kernel has none: BTF, a vmlinux, or BTFHub's .btf.tar.xz, in this `file`"
	registersUsage = "have programs compiled for this machine's architecture find arguments and results of functions of C where the target's has them"
	fetchUsage     = "get the headers and print the directory that they are in"
)

func progressHeaders(target string) string {
	return fmt.Sprintf("bpfctl: getting the kernel headers of %s", target)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// progress returns what shows on a terminal how far a transfer is, nil if
// standard error is none.
func progress(what string) func(done, total uint64) {
	if !isTerminal(os.Stderr) {
		return nil
	}
	return func(done, total uint64) {
		if done >= total {
			fmt.Fprint(os.Stderr, "\r\033[K")
			return
		}
		fmt.Fprintf(os.Stderr, "\r%s: %d%% of %.1f MB ", what, done*100/total, float64(total)/1e6)
	}
}

func errNamedHeaders(by string, err error) error { return fmt.Errorf("%s: %w", by, err) }

func errOtherHeaders(err error) error {
	return fmt.Errorf("%w; %s=1 takes them all the same", err, anyHeaders)
}

// errNoHeaders says what the target would allow.
func errNoHeaders(target string, f *headers.Finder) error {
	p := f.Package()
	var do string
	switch {
	case p != nil && p.Fetchable():
		do = fmt.Sprintf("get %s of %s with: bpfctl headers -t %s --fetch", p.Name, p.Distribution, quote(target))
	case f.HasModule():
		do = "load its own, as root on the target, with: modprobe kheaders"
	case p != nil:
		do = fmt.Sprintf("unpack the package %s of %s, and name the directory with --headers DIR", p.Name, p.Distribution)
	default:
		do = "its kernel has no CONFIG_IKHEADERS and its distribution is not known; name a directory with --headers DIR"
	}
	return fmt.Errorf("%s: there are no kernel headers of %s for %s here; %s", target, f.Kernel.Release, f.Kernel.Arch, do)
}

// quote quotes a word for a shell, if it needs it.
func quote(s string) string {
	if strings.ContainsAny(s, " '\"$&;|<>()*?`\\") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// headersRows are what bpfctl headers prints.
func headersRows(f *headers.Finder) [][2]string {
	rows := [][2]string{{"kernel", fmt.Sprintf("%s, %s", f.Kernel.Release, f.Kernel.Arch)}}
	add := func(where, what string) { rows = append(rows, [2]string{where, what}) }
	if dir := f.Cached(); dir != "" {
		add("cache", dir)
	} else {
		add("cache", "none")
	}
	switch {
	case f.HasArchive():
		add("target", "shows its own in "+headers.Archive)
	case f.HasModule():
		add("target", "would show its own after modprobe kheaders")
	default:
		add("target", "none: its kernel has no CONFIG_IKHEADERS")
	}
	if f.HasLocal() {
		add("this machine", "in /lib/modules/"+f.Kernel.Release)
	} else {
		add("this machine", "none of this release and architecture in /lib/modules")
	}
	switch p := f.Package(); {
	case p == nil:
		add("package", "not known")
	case p.Fetchable():
		add("package", fmt.Sprintf("%s of %s, which --fetch fetches", p.Name, p.Distribution))
	default:
		add("package", fmt.Sprintf("%s of %s", p.Name, p.Distribution))
	}
	return rows
}

func errBTF(err error) error { return fmt.Errorf("--btf: %w", err) }

func warnOwnBTF(target, path string) string {
	return fmt.Sprintf("%s has type information of its own, which is taken instead of %s", target, path)
}

func warnOtherBuild(target, path string) string {
	return fmt.Sprintf("%s is of another build of the kernel than %s runs: what tools print may be wrong", path, target)
}

func warnOtherKernel(target, path string, foreign, all int, example string) string {
	return fmt.Sprintf("%s is of another kernel than %s runs, which lacks %d of %d functions in it, %s for one: what tools print may be wrong",
		path, target, foreign, all, example)
}

func warnNoRegisters(target string, err error) string {
	return fmt.Sprintf("%s: programs that ask for registers by name will not find them: %v", target, err)
}
