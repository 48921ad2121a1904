package vm

import (
	"fmt"
	"strings"
)

// Row is a kind of target: a kernel for an architecture.
type Row struct {
	Name  string
	Arch  string // as Go and Debian spell it
	Suite string // Debian's, from which the kernel comes
	// Source is Debian's package of the sources from which the kernel is built,
	// with phone.config. Without it the kernel is Debian's own.
	Source string
	Note   string
}

// Rows are all targets. The main suites only: their packages stay on the
// mirrors, while those of the security suites come and go.
var Rows = []Row{
	{Name: "5.10-amd64", Arch: "amd64", Suite: "bullseye", Note: "before bpf_link for perf events; RLIMIT_MEMLOCK counts"},
	{Name: "6.1-amd64", Arch: "amd64", Suite: "bookworm", Note: "Debian 12"},
	{Name: "6.12-amd64", Arch: "amd64", Suite: "trixie", Note: "Debian 13"},
	{Name: "5.10-arm64", Arch: "arm64", Suite: "bullseye", Note: "no fentry; RLIMIT_MEMLOCK counts"},
	{Name: "5.10-phone-arm64", Arch: "arm64", Suite: "bullseye", Source: "linux-source-5.10", Note: "no BTF, no system call tracepoints, kheaders; built once, in some minutes"},
	{Name: "6.1-arm64", Arch: "arm64", Suite: "bookworm", Note: "no fentry"},
	{Name: "6.12-arm64", Arch: "arm64", Suite: "trixie"},
}

// RowOf returns the row with a name.
func RowOf(name string) (Row, error) {
	var names []string
	for _, r := range Rows {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Row{}, fmt.Errorf("no target is named %q; there are %s", name, strings.Join(names, ", "))
}

// machine is what QEMU needs to know of an architecture.
type machine struct {
	qemu    string   // QEMU's name of it
	args    []string // board and processor
	console string
	image   string // prefix of the kernel's image in /boot

	lib string // Debian's multiarch name
}

// The microvm board hangs now and then, and `-cpu max` on arm64 computes pointer
// authentication slowly.
var machines = map[string]machine{
	"amd64": {qemu: "x86_64", args: []string{"-M", "pc"}, console: "ttyS0", image: "vmlinuz-", lib: "x86_64-linux-gnu"},
	"arm64": {qemu: "aarch64", args: []string{"-M", "virt", "-cpu", "cortex-a72"}, console: "ttyAMA0", image: "vmlinuz-", lib: "aarch64-linux-gnu"},
}

// QEMU returns the name of the program that emulates the row's machine.
func (r Row) QEMU() string { return "qemu-system-" + machines[r.Arch].qemu }
