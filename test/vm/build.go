package vm

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"bpfd/internal/apt"
)

//go:embed build.sh
var buildScript []byte

//go:embed phone.config
var phoneConfig []byte

// builtName is the name of a built kernel in the cache: another configuration
// is another kernel.
func builtName(r Row) string {
	sum := sha256.Sum256(append(buildScript, phoneConfig...))
	return fmt.Sprintf("kernel-%s-%x", r.Name, sum[:6])
}

// buildKernel returns the kernel of a row with sources, from the cache or built
// of Debian's sources.
func buildKernel(cache string, r Row) (*kernel, error) {
	dir, err := cached(cache, builtName(r), "lock-"+r.Name, func(dir string) error {
		tmp, err := os.MkdirTemp(cache, ".build-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		if err := compile(cache, tmp, r); err != nil {
			return err
		}
		return os.Rename(filepath.Join(tmp, "out"), dir)
	})
	if err != nil {
		return nil, err
	}
	return readKernel(dir)
}

// builders are the packages that building takes, programs what they consist of.
const builders = "gcc make gcc-aarch64-linux-gnu flex bison bc cpio perl rsync libssl-dev libelf-dev pahole"

var programs = []string{"gcc", "make", "aarch64-linux-gnu-gcc", "flex", "bison", "bc", "cpio", "perl", "rsync", "pahole"}

// compile fetches the sources and builds the kernel in tmp/out.
func compile(cache, tmp string, r Row) error {
	path := func(name string) string { return filepath.Join(tmp, name) }
	err := locked(cache, fetching, func() error {
		a, err := apt.Open(filepath.Join(cache, "apt"), apt.Debian, r.Arch, nil, r.Suite)
		if err != nil {
			return err
		}
		return a.Unpack(path("package"), r.Source)
	})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"build.sh": buildScript, "config": phoneConfig} {
		if err := os.WriteFile(path(name), data, 0o700); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path("work"), 0o755); err != nil {
		return err
	}
	cmd := exec.Command("sh", path("build.sh"), filepath.Join(path("package"), "usr/src", r.Source+".tar.xz"), path("config"), path("out"))
	cmd.Dir = path("work")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s\nit takes: apt install %s", r.Name, err, said[max(0, len(said)-4096):], builders)
	}
	return nil
}

// BTF returns the path of the type information of a machine's kernel, for a
// kernel that has none itself and was built here.
func (v *VM) BTF() (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	if v.Row.Source == "" {
		return "", errors.New(v.Row.Name + " has type information of its own")
	}
	return filepath.Join(cache, builtName(v.Row), "btf"), nil
}
