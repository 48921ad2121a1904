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

// Program is a bpfd, packed or not. What it is called on disk depends on what
// it holds: unpacking takes longer than all else at the start.
type Program struct {
	content []byte
	packed  bool
}

// Name is made of the content.
func (p Program) Name() string {
	sum := sha256.Sum256(p.content)
	return "bpfd-" + hex.EncodeToString(sum[:8])
}

// Unpack returns what is to be executed.
func (p Program) Unpack() ([]byte, error) {
	if !p.packed {
		return p.content, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(p.content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// Pack returns it as gunzip wants it.
func (p Program) Pack() []byte {
	if p.packed {
		return p.content
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(p.content) // a Buffer takes everything
	z.Close()
	return b.Bytes()
}

// Find returns the bpfd for an architecture, as Go spells it. BPFD_AGENT names
// a file to take instead.
func Find(arch string) (Program, error) {
	if path := os.Getenv("BPFD_AGENT"); path != "" {
		b, err := os.ReadFile(path)
		return Program{content: b}, err
	}
	if packed, err := bin.ReadFile("bin/bpfd-linux-" + arch + ".gz"); err == nil {
		return Program{packed, true}, nil
	}
	if arch == runtime.GOARCH {
		if exe, err := os.Executable(); err == nil {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "bpfd")); err == nil {
				return Program{content: b}, nil
			}
		}
		if path, err := exec.LookPath("bpfd"); err == nil {
			b, err := os.ReadFile(path)
			return Program{content: b}, err
		}
	}
	return Program{}, fmt.Errorf("this bpfctl was built without a bpfd for %s; build both with make", arch)
}

// Install puts the bpfd for this machine into the cache and returns its path.
func Install() (string, error) {
	p, err := Find(runtime.GOARCH)
	if err != nil {
		return "", err
	}
	path := cache.Path("agent", p.Name())
	if st, err := os.Stat(path); err == nil && st.Mode()&0o100 != 0 {
		return path, nil
	}
	b, err := p.Unpack()
	if err != nil {
		return "", err
	}
	if err := cache.Put(path, b, 0o700); err != nil {
		return "", cache.Failure("bpfd", filepath.Dir(path), err)
	}
	return path, nil
}
