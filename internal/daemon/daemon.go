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
)

// bin holds bpfd-linux-ARCH.gz for each architecture, made by `make`.
//
//go:embed all:bin
var bin embed.FS

// Program returns the bpfd for an architecture, as Go spells it. BPFD_AGENT
// names a file to take instead.
func Program(arch string) ([]byte, error) {
	if path := os.Getenv("BPFD_AGENT"); path != "" {
		return os.ReadFile(path)
	}
	if packed, err := bin.ReadFile("bin/bpfd-linux-" + arch + ".gz"); err == nil {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	}
	if arch == runtime.GOARCH {
		if exe, err := os.Executable(); err == nil {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "bpfd")); err == nil {
				return b, nil
			}
		}
		if path, err := exec.LookPath("bpfd"); err == nil {
			return os.ReadFile(path)
		}
	}
	return nil, fmt.Errorf("this bpfctl was built without a bpfd for %s; build both with make", arch)
}

// Install puts the bpfd for this machine into the cache, under a name made of
// its content, and returns its path.
func Install() (string, error) {
	b, err := Program(runtime.GOARCH)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(b)
	dir := filepath.Join(cache, "bpfd", "agent")
	path := filepath.Join(dir, "bpfd-"+hex.EncodeToString(sum[:8]))
	if st, err := os.Stat(path); err == nil && st.Size() == int64(len(b)) && st.Mode()&0o100 != 0 {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return path, writeAtomic(path, b)
}

// writeAtomic writes an executable file that is there as a whole or not at all.
func writeAtomic(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".bpfd-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Chmod(0o700); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
