package cache

import (
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
