package headers

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bpfd/internal/cache"
)

// Kernel is the kernel that headers must be of.
type Kernel struct {
	Release string // uname -r
	Version string // uname -v
	Arch    string // as Go spells it
}

// Tree is a kernel's headers as /lib/modules/RELEASE has them: Build was
// written when the kernel was built, Source comes with its source. They are the
// same directory if somebody has merged them.
type Tree struct{ Build, Source string }

// Mismatch is headers of another kernel.
type Mismatch struct {
	Dir, What, Has, Want string
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("%s holds kernel headers of %s %s, but the target's %s is %s", m.Dir, m.What, m.Has, m.What, m.Want)
}

// In finds the two halves of the headers in a directory that a user names:
// merged, as kheaders.tar.xz and BCC_KERNEL_SOURCE have them; a build directory
// with a link or a Makefile that names its source, as a distribution or a
// kernel built with O= leaves it.
func In(dir string) (Tree, error) {
	if _, err := os.Stat(dir); err != nil {
		return Tree{}, fmt.Errorf("%s: %w", dir, cache.Reason(err))
	}
	if !exists(dir, utsrelease) {
		return Tree{}, fmt.Errorf("%s holds no headers of a built kernel: it has no %s", dir, utsrelease)
	}
	for _, source := range []string{dir, filepath.Join(dir, "source"), included(dir)} {
		if source != "" && exists(source, kconfig) {
			return Tree{Build: dir, Source: source}, nil
		}
	}
	return Tree{}, fmt.Errorf("%s holds one half of a kernel's headers: it has no %s", dir, kconfig)
}

const (
	utsrelease = "include/generated/utsrelease.h"
	autoconf   = "include/generated/autoconf.h"
	kconfig    = "include/linux/kconfig.h"
)

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// included returns the directory of the Makefile that a build directory's
// Makefile includes.
func included(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "Makefile"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "include "); ok && strings.HasSuffix(path, "/Makefile") {
			return filepath.Dir(path)
		}
	}
	return ""
}

// Check says whether a tree is of a kernel: by the release and the
// configuration that its build has left in it.
func Check(t Tree, k Kernel) error {
	release, err := define(filepath.Join(t.Build, utsrelease), "UTS_RELEASE")
	if err != nil {
		return err
	}
	arch, err := architecture(t.Build)
	if err != nil {
		return err
	}
	if arch != k.Arch {
		return &Mismatch{t.Build, "architecture", arch, k.Arch}
	}
	if release := strings.Trim(release, `"`); release != k.Release {
		return &Mismatch{t.Build, "release", release, k.Release}
	}
	return nil
}

// architectures are how a configuration says what it is for, Go's names, and
// the names of the directories below arch.
var architectures = []struct{ config, arch, dir string }{
	{"CONFIG_X86_64", "amd64", "x86"},
	{"CONFIG_X86_32", "386", "x86"},
	{"CONFIG_ARM64", "arm64", "arm64"},
	{"CONFIG_ARM", "arm", "arm"},
	{"CONFIG_RISCV", "riscv64", "riscv"},
}

func architecture(build string) (string, error) {
	for _, a := range architectures {
		switch _, err := define(filepath.Join(build, autoconf), a.config); {
		case err == nil:
			return a.arch, nil
		case !errors.Is(err, errNotDefined):
			return "", err
		}
	}
	return "unknown", nil
}

var errNotDefined = errors.New("not defined")

// define returns what a header defines a name as.
func define(path, name string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the kernel headers are incomplete: %s is missing", path)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) >= 2 && words[0] == "#define" && words[1] == name {
			return strings.Join(words[2:], " "), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%s: %s is %w", path, name, errNotDefined)
}
