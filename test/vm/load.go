package vm

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed load.sh
var loadScript []byte

//go:embed cppload/cppload.cc
var cppLoad []byte

// WithLoad gives the guest a disk and a workload that runs from its start:
// files opened, processes spawned, disk and TCP traffic, and a C++ and a Go
// program with known functions (/bin/cppload, /bin/goload).
func WithLoad() Option {
	return func(c *config) error {
		if err := c.buildCPP(); err != nil {
			return err
		}
		if err := c.build("/bin/goload", "bpfd/test/vm/cmd/goload", false); err != nil {
			return err
		}
		if err := c.disk(); err != nil {
			return err
		}
		return WithStart("load", "exec /bin/load\n")(c)
	}
}

// buildCPP compiles the C++ program, with Debian's compiler for the guest, and
// adds the guest's C and C++ libraries.
func (c *config) buildCPP() error {
	suite := c.row.userland()
	root, err := unpack(c.cache, "libstdc++-"+suite+"-"+c.row.Arch, suite, c.row.Arch, true, "libstdc++6")
	if err != nil {
		return err
	}
	source, out := filepath.Join(c.dir, "cppload.cc"), filepath.Join(c.dir, "cppload")
	if err := os.WriteFile(source, cppLoad, 0o600); err != nil {
		return err
	}
	compiler := machines[c.row.Arch].lib + "-g++"
	if said, err := exec.Command(compiler, "-g", "-O1", "-fno-omit-frame-pointer", "-pthread", "-o", out, source).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", compiler, err, said)
	}
	if err := c.tree.copy("/bin/cppload", out); err != nil {
		return err
	}
	return c.libraries(root, out)
}

// diskSize is that of the disk; the file is sparse.
const diskSize = 64 << 20

// disk gives the guest a disk with an ext4 file system, which init mounts on
// /mnt.
func (c *config) disk() error {
	path := filepath.Join(c.dir, "disk")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(diskSize); err != nil {
		return err
	}
	if said, err := exec.Command("/sbin/mkfs.ext4", "-q", "-F", path).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, said)
	}
	c.qemu = append(c.qemu, "-drive", "if=none,id=disk,format=raw,file="+path, "-device", "virtio-blk-pci,drive=disk")
	return nil
}
