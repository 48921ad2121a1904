package suite

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"bpfd/test/testenv"
)

//go:embed programs/*.c
var sources embed.FS

// BuildPrograms builds what the rows need into a directory: BPF objects, a
// program with a libbpf skeleton, and one that uses cilium/ebpf. They run on
// this machine's architecture. It needs clang, gcc, bpftool and libbpf-dev.
func BuildPrograms(dir string) error {
	files, err := sources.ReadDir("programs")
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := sources.ReadFile("programs/" + f.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), b, 0o666); err != nil {
			return err
		}
	}
	const script = `set -e
for source in *.bpf.c; do
	# Debian's <asm/types.h> is in the directory of an architecture.
	clang -O2 -g -target bpf -I/usr/include/$(gcc -print-multiarch) -c $source -o ${source%.bpf.c}.o
done
bpftool gen skeleton count.o name count_bpf >count.skel.h
gcc -O2 -Wall -I. -o count count.c -lbpf`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := writeBatch(filepath.Join(dir, "batch")); err != nil {
		return err
	}
	for _, program := range []string{"cilium", "deny"} {
		if err := testenv.Build(filepath.Join(dir, program), "bpfd/test/suite/programs/"+program); err != nil {
			return err
		}
	}
	return nil
}

// batchEntries are more than one chunk of a map's walk holds.
const batchEntries = 10000

// writeBatch writes bpftool's commands that fill a map pinned at @.
func writeBatch(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	word := func(v int) string {
		return fmt.Sprint(v&0xff, " ", v>>8&0xff, " ", v>>16&0xff, " ", v>>24)
	}
	for i := range batchEntries {
		fmt.Fprintln(f, "map update pinned @ key", word(i), "value", word(7*i))
	}
	return f.Close()
}
