// Package daemon finds the bpfd program to run on a target: the one embedded
// in this program, or one beside it.
package daemon

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"bpfd/internal/cache"
)

// bin holds bpfd-linux-ARCH.gz for each architecture, made by `make`.
//
//go:embed all:bin
var bin embed.FS

// program is a bpfd, packed or not. What it is called on disk depends on what
// it holds: unpacking takes longer than all else at the start.
type program struct {
	content []byte
	packed  bool
}

// name is made of the content.
func (p program) name() string {
	sum := sha256.Sum256(p.content)
	return "bpfd-" + hex.EncodeToString(sum[:8])
}

func (p program) unpack() ([]byte, error) {
	if !p.packed {
		return p.content, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(p.content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// find returns the bpfd for an architecture, as Go spells it. BPFD_AGENT names
// a file to take instead.
func find(arch string) (program, error) {
	if path := os.Getenv("BPFD_AGENT"); path != "" {
		b, err := os.ReadFile(path)
		return program{content: b}, err
	}
	if packed, err := bin.ReadFile("bin/bpfd-linux-" + arch + ".gz"); err == nil {
		return program{packed, true}, nil
	}
	if arch == runtime.GOARCH {
		if exe, err := os.Executable(); err == nil {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "bpfd")); err == nil {
				return program{content: b}, nil
			}
		}
		if path, err := exec.LookPath("bpfd"); err == nil {
			b, err := os.ReadFile(path)
			return program{content: b}, err
		}
	}
	return program{}, fmt.Errorf("this bpfctl was built without a bpfd for %s; build both with make", arch)
}

// Program returns the bpfd for an architecture, as Go spells it, and a name
// made of its content.
func Program(arch string) (content []byte, name string, err error) {
	p, err := find(arch)
	if err != nil {
		return nil, "", err
	}
	content, err = p.unpack()
	return content, p.name(), err
}

// Install puts the bpfd for this machine into the cache and returns its path.
func Install() (string, error) {
	p, err := find(runtime.GOARCH)
	if err != nil {
		return "", err
	}
	path := cache.Path("agent", p.name())
	if st, err := os.Stat(path); err == nil && st.Mode()&0o100 != 0 {
		return path, nil
	}
	b, err := p.unpack()
	if err != nil {
		return "", err
	}
	return path, cache.Put(path, b, 0o700)
}
