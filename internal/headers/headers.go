// Package headers finds the kernel headers of a target on this machine, or
// brings them here: for bcc, which compiles against them, and for bpftrace,
// which reads them where a kernel has no BTF.
package headers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"bpfd/internal/kernel"
	"bpfd/internal/wire"
)

// Options say where to look.
type Options struct {
	// Dir is the directory that the user names, "" if none. Nothing else is
	// looked at then.
	Dir string
	// Any takes Dir whatever kernel its headers are of.
	Any bool
	// Progress is called while the target's headers are transferred.
	Progress func(done, total uint64)
}

// ErrNone says that there are no headers.
var ErrNone = errors.New("there are no headers of the target's kernel on this machine")

// Finder finds the headers of one target's kernel.
type Finder struct {
	Kernel Kernel

	remote kernel.Remote
	opts   Options
	id     func() string
	source func() *place
	find   func() (Tree, error)
}

// NewFinder returns a finder. Nothing is looked for yet.
func NewFinder(remote kernel.Remote, info *wire.Info, opts Options) *Finder {
	f := &Finder{
		Kernel: Kernel{Release: info.Release, Version: info.Version, Arch: info.Arch},
		remote: remote, opts: opts,
	}
	k := kernel.New(remote)
	f.id = sync.OnceValue(func() string {
		if id := k.BuildID(); id != "" {
			return id
		}
		sum := sha256.Sum256([]byte(info.Release + "\x00" + info.Version + "\x00" + info.Machine))
		return "uname-" + hex.EncodeToString(sum[:16])
	})
	f.source = sync.OnceValue(f.look)
	f.find = sync.OnceValues(func() (Tree, error) {
		p := f.source()
		if p == nil {
			return Tree{}, ErrNone
		}
		return p.get(f)
	})
	return f
}

// ID names the kernel: its build-id, or what uname(1) says of it if it tells none.
func (f *Finder) ID() string { return f.id() }

// Available says whether Find will find headers, unless they are not what they
// should be. It takes no more than a few round trips.
func (f *Finder) Available() bool { return f.source() != nil }

// Find returns the headers. It may take the time of a transfer, once.
func (f *Finder) Find() (Tree, error) { return f.find() }

// place is where headers may be.
type place struct {
	has func(*Finder) bool
	get func(*Finder) (Tree, error)
}

// places are looked at in this order. What a package manager has fetched is
// the cache's.
var places = []*place{
	{func(f *Finder) bool { return f.Cached() != "" }, (*Finder).cached},
	{(*Finder).HasArchive, (*Finder).fromArchive},
	{(*Finder).HasLocal, (*Finder).local},
}

// named is the user's own choice.
var named = &place{nil, (*Finder).named}

func (f *Finder) look() *place {
	if f.opts.Dir != "" {
		return named
	}
	for _, p := range places {
		if p.has(f) {
			return p
		}
	}
	return nil
}

func (f *Finder) named() (Tree, error) {
	t, err := In(f.opts.Dir)
	if err == nil && !f.opts.Any {
		err = Check(t, f.Kernel)
	}
	return t, err
}

// Cached returns where headers are that were got before, "" if none were.
func (f *Finder) Cached() string {
	if dir := stored(f.ID()); isDir(dir) {
		return dir
	}
	return ""
}

func (f *Finder) cached() (Tree, error) {
	t, err := In(stored(f.ID()))
	if err == nil {
		err = Check(t, f.Kernel)
	}
	if err != nil {
		err = fmt.Errorf("%w; remove %s", err, stored(f.ID()))
	}
	return t, err
}

// modules is where a machine has the headers of its own kernels.
const modules = "/lib/modules/"

// HasLocal says whether this machine has the headers installed, as it does if
// it runs the same kernel.
func (f *Finder) HasLocal() bool {
	_, err := f.local()
	return err == nil
}

func (f *Finder) local() (Tree, error) {
	t, err := In(modules + f.Kernel.Release + "/build")
	if err != nil {
		if t, err = inHalves(modules + f.Kernel.Release); err != nil {
			return Tree{}, err
		}
	}
	return t, Check(t, f.Kernel)
}

// inHalves finds headers whose halves are named by two links.
func inHalves(dir string) (Tree, error) {
	t := Tree{Build: dir + "/build", Source: dir + "/source"}
	if !exists(t.Build, utsrelease) || !exists(t.Source, kconfig) {
		return Tree{}, fmt.Errorf("%s has no kernel headers", dir)
	}
	return t, nil
}
