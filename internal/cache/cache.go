// Package cache keeps on the host's disk what need not be fetched or made
// twice. Entries are named after what their content depends on, so that they
// never go stale.
package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Failure says what cannot be kept in the cache, in which directory, and how to
// take another one.
func Failure(what, dir string, err error) error {
	return fmt.Errorf("cannot keep %s in %s: %w; XDG_CACHE_HOME names another place", what, dir, Reason(err))
}

// Reason takes the names out of an error that are said already.
func Reason(err error) error {
	if e := (*os.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	if e := (*os.LinkError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Path returns where an entry is or will be: below $XDG_CACHE_HOME/bpfd, or
// below a directory for temporary files if the user has no home.
func Path(elem ...string) string {
	base := ""
	if dir, err := os.UserCacheDir(); err == nil {
		base = filepath.Join(dir, "bpfd")
	} else {
		base = homeless(os.TempDir(), "/var/tmp", "/dev/shm")
	}
	return filepath.Join(append([]string{base}, elem...)...)
}

// homeless returns a directory in one of those where everybody may make some.
// Programs are executed from it: it has to be ours alone, and what somebody else
// has put there under its name is not taken.
func homeless(in ...string) string {
	name := fmt.Sprintf("bpfd-cache-%d", os.Getuid())
	for _, dir := range in {
		dir = filepath.Join(dir, name)
		os.Mkdir(dir, 0o700)
		var st unix.Stat_t
		if unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&0o077 == 0 && int(st.Uid) == os.Getuid() {
			return dir
		}
	}
	return filepath.Join("/proc/self", name) // where nothing can be kept
}

// Map returns the content of an entry, read-only, for as long as the process
// lives.
func Map(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return nil, unix.ENODATA
	}
	return unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
}

// Put makes an entry, and the directories above it. It is there as a whole or
// not at all, whoever else does the same at the same time.
func Put(path string, content []byte, perm os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return WriteFile(path, content, perm)
}

// WriteFile writes a file as os.WriteFile does, but as a whole or not at all.
func WriteFile(path string, content []byte, perm os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if e := f.Chmod(perm); err == nil {
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
