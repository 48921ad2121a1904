package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestPutMap(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := Path("kind", "name")
	if _, err := Map(path); !os.IsNotExist(err) {
		t.Fatalf("an entry that is not there: %v", err)
	}
	for _, content := range []string{"first", "the second, which is longer"} {
		if err := Put(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := Map(path); err != nil || string(b) != content {
			t.Errorf("%q, %v", b, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What cannot be written leaves nothing.
func TestPutFails(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := Path("kind", "name")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Put(path, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Without a home it is a directory that is ours alone: what others could have
// prepared under its name would be executed.
func TestHomeless(t *testing.T) {
	name := fmt.Sprintf("bpfd-cache-%d", os.Getuid())
	good, made := t.TempDir(), t.TempDir()
	for what, prepare := range map[string]func(path string) error{
		"open to others": func(path string) error {
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			return os.Chmod(path, 0o770)
		},
		"a link": func(path string) error { return os.Symlink(made, path) },
		"a file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"somebody else's": func(path string) error {
			if os.Getuid() != 0 {
				return os.Symlink(made, path) // only root can give it away
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			return os.Chown(path, 65534, 65534)
		},
	} {
		dir := t.TempDir()
		if err := prepare(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if got := homeless(dir, good); got != filepath.Join(good, name) {
			t.Errorf("%s: %s", what, got)
		}
		if got := homeless(dir); Put(filepath.Join(got, "x"), []byte("x"), 0o600) == nil {
			t.Errorf("%s: something is kept in %s", what, got)
		}
	}
}
