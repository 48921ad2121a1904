package vm

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bpfd/internal/apt"

	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// CacheDir returns where kernels and unpacked packages are kept.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "bpfd-vm"), nil
}

// fetching is the lock of what fetches packages: they share apt's files.
const fetching = "lock"

// cached returns the path of what has a name in the cache, after fill has made
// it if it is not there. One process at a time fills what has the same lock.
func cached(cache, name, lock string, fill func(path string) error) (string, error) {
	path := filepath.Join(cache, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, locked(cache, lock, func() error {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		return fill(path)
	})
}

// locked calls f while no other process has the lock.
func locked(cache, name string, f func() error) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.Create(filepath.Join(cache, name))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	return f()
}

// unpack fetches packages of a suite and all that they depend on (if closure)
// into the cache, and returns the directory.
func unpack(cache, name, suite, arch string, closure bool, pkgs ...string) (string, error) {
	return cached(cache, name, fetching, func(dir string) error {
		a, err := apt.Open(filepath.Join(cache, "apt"), apt.Debian, arch, nil, withBase(suite)...)
		if err != nil {
			return err
		}
		if closure {
			if pkgs, err = a.Closure(pkgs...); err != nil {
				return err
			}
		}
		return a.Unpack(dir, pkgs...)
	})
}

// withBase returns a suite and the one that it is an addition to, as bookworm
// is to bookworm-backports.
func withBase(suite string) []string {
	if base, _, ok := strings.Cut(suite, "-"); ok {
		return []string{base, suite}
	}
	return []string{suite}
}

// kernel is an unpacked kernel package.
type kernel struct {
	release string
	image   string // path
	modules string // path of the directory that modules.dep would be in
	builtin map[string]bool
	files   map[string]string // module → path
}

// fetchKernel returns the kernel of a row, from the cache or from Debian.
func fetchKernel(cache string, r Row) (*kernel, error) {
	if r.Source != "" {
		return buildKernel(cache, r)
	}
	dir, err := cached(cache, "kernel-"+r.Name, fetching, func(dir string) error {
		a, err := apt.Open(filepath.Join(cache, "apt"), apt.Debian, r.Arch, nil, r.Suite)
		if err != nil {
			return err
		}
		pkg, err := a.Latest("linux-image-"+r.Arch, "linux-image-")
		if err != nil {
			return err
		}
		return a.Unpack(dir, pkg)
	})
	if err != nil {
		return nil, err
	}
	return readKernel(dir)
}

// readKernel looks at an unpacked kernel package.
func readKernel(dir string) (*kernel, error) {
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		return nil, fmt.Errorf("%s has %d kernels, not one: remove it, so that it is fetched anew", dir, len(images))
	}
	k := &kernel{
		image:   images[0],
		release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-"),
		builtin: map[string]bool{}, files: map[string]string{},
	}
	k.modules = filepath.Join(dir, "lib", "modules", k.release)
	if _, err := os.Stat(k.modules); err != nil { // a merged /usr
		k.modules = filepath.Join(dir, "usr", "lib", "modules", k.release)
	}
	b, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		k.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	return k, filepath.WalkDir(k.modules, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), ".ko") {
			k.files[moduleName(path)] = path
		}
		return err
	})
}

func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// module is a kernel module, not compressed.
type module struct {
	name string
	data []byte
}

// load returns modules and what they need, in the order in which they must be
// inserted. What the kernel has built in, or lacks, is left out.
func (k *kernel) load(names ...string) ([]module, error) {
	var order []module
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		path := k.files[name]
		if seen[name] || path == "" {
			return nil
		}
		seen[name] = true
		data, err := readModule(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		needs, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		order = append(order, module{name, data})
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".xz") {
		return io.ReadAll(f)
	}
	z, err := xz.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// dependencies reads what a module's .modinfo says that it needs: the modules
// it links to, and those it wants before it ("softdep=pre: …").
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	info := f.Section(".modinfo")
	if info == nil {
		return nil, errors.New("no module: it has no .modinfo")
	}
	b, err := info.Data()
	if err != nil {
		return nil, err
	}
	var needs []string
	for kv := range strings.SplitSeq(string(b), "\x00") {
		if v, ok := strings.CutPrefix(kv, "depends="); ok {
			needs = append(needs, strings.Split(v, ",")...)
		}
		if v, ok := strings.CutPrefix(kv, "softdep=pre:"); ok {
			needs = append(needs, strings.Fields(v)...)
		}
	}
	for i, n := range needs {
		needs[i] = strings.ReplaceAll(n, "-", "_")
	}
	return slices.DeleteFunc(needs, func(n string) bool { return n == "" }), nil
}
