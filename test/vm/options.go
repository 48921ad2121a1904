package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bpfd/test/testenv"
)

// config is what a machine is made of.
type config struct {
	row     Row
	cache   string
	dir     string // the machine's own files
	tree    tree
	cpus    int
	memory  int // in MiB
	cmdline string
	qemu    []string
}

// Option changes the machine to be booted.
type Option func(*config) error

// WithCPUs gives the machine a number of processors; without it there are 2.
func WithCPUs(n int) Option {
	return func(c *config) error { c.cpus = n; return nil }
}

// WithMemory gives the machine memory in MiB; without it there are 512.
func WithMemory(mib int) Option {
	return func(c *config) error { c.memory = mib; return nil }
}

// WithCmdline adds to the kernel's command line.
func WithCmdline(s string) Option {
	return func(c *config) error { c.cmdline += " " + s; return nil }
}

// WithFile puts a file of the host into the guest.
func WithFile(to, from string) Option {
	return func(c *config) error { return c.tree.copy(to, from) }
}

// WithStart runs a shell script when the guest starts, beside everything else.
func WithStart(name, script string) Option {
	return func(c *config) error {
		c.tree.file("/etc/start/"+name, 0o755, []byte("#!/bin/sh\n"+script))
		return nil
	}
}

// fill puts everything into the guest's file system.
func (c *config) fill(k *kernel, opts []Option) error {
	busybox, err := unpack(c.cache, "busybox-"+c.row.Arch, "bookworm", c.row.Arch, false, "busybox-static")
	if err != nil {
		return err
	}
	if err := c.tree.base(k, busybox); err != nil {
		return err
	}
	c.tree.file("/etc/hostname", 0o644, []byte("vm-"+strings.ReplaceAll(c.row.Name, ".", "-")+"\n"))
	for path, pkg := range map[string]string{"/bin/bpfd": "bpfd/cmd/bpfd", "/bin/guest": "bpfd/test/vm/cmd/guest"} {
		if err := c.build(path, pkg, true); err != nil {
			return err
		}
	}
	for _, o := range opts {
		if err := o(c); err != nil {
			return err
		}
	}
	return nil
}

// build builds a program of this module for the guest, from the sources as
// they are now. A stripped one has no symbols.
func (c *config) build(to, pkg string, stripped bool) error {
	dir, err := os.MkdirTemp("", "bpfd-vm-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	flags := "GOFLAGS=-trimpath"
	if stripped {
		flags += " -ldflags=-s"
	}
	if err := testenv.Build(out, pkg, "GOOS=linux", "GOARCH="+c.row.Arch, flags); err != nil {
		return fmt.Errorf("for %s: %w", c.row.Arch, err)
	}
	return c.tree.copy(to, out)
}
