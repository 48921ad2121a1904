package headers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bpfd/internal/cache"

	"golang.org/x/sys/unix"
)

// stored returns where the headers of a kernel are in the cache, or will be.
func stored(id string) string { return cache.Path("headers", id) }

// store returns the headers of a kernel in the cache. If they are not there,
// fill makes them in a directory that does not exist yet. One process does so
// at a time, the others wait; what fails, or is interrupted, leaves nothing
// that could be taken for headers.
func store(id string, fill func(dir string) error) (string, error) {
	dir := stored(id)
	if isDir(dir) {
		return dir, nil
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", cacheError(err)
	}
	lock, err := os.OpenFile(filepath.Join(parent, ".lock-"+id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", cacheError(err)
	}
	defer lock.Close()
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return "", fmt.Errorf("cannot lock %s: %w", lock.Name(), err)
	}
	if isDir(dir) {
		return dir, nil
	}
	// Nobody else works here now: this is what somebody has left who was killed.
	scratch := filepath.Join(parent, ".new-"+id)
	if err := os.RemoveAll(scratch); err != nil {
		return "", cacheError(err)
	}
	defer os.RemoveAll(scratch)
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return "", cacheError(err)
	}
	made := filepath.Join(scratch, "tree")
	if err := fill(made); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return "", cacheError(err)
		}
		return "", err
	}
	if err := os.Rename(made, dir); err != nil {
		return "", cacheError(err)
	}
	return dir, nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func cacheError(err error) error {
	return cache.Failure("kernel headers", cache.Path("headers"), err)
}
