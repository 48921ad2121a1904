package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra/doc"
)

var update = flag.Bool("update", false, "write the man pages instead of comparing them")

// manDir is where the manual pages of the commands are.
const manDir = "../../doc/man"

// The manual pages say what --help says; `make man` writes them.
func TestManPages(t *testing.T) {
	root := newRoot()
	root.DisableAutoGenTag = true
	root.InitDefaultHelpCmd()
	dir := t.TempDir()
	date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Section: "1", Source: "bpfd", Manual: "bpfd", Date: &date}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(made) == 0 {
		t.Fatalf("no pages were made: %v", err)
	}
	known := make(map[string]bool)
	for _, path := range made {
		name := filepath.Base(path)
		known[name] = true
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		committed := filepath.Join(manDir, name)
		if *update {
			if err := os.WriteFile(committed, want, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got, err := os.ReadFile(committed); err != nil || !bytes.Equal(got, want) {
			t.Errorf("doc/man/%s is not what the command says: run make man (%v)", name, err)
		}
	}
	old, _ := filepath.Glob(filepath.Join(manDir, "bpfctl*.1"))
	for _, path := range old {
		if known[filepath.Base(path)] {
			continue
		}
		if *update {
			os.Remove(path)
		} else {
			t.Errorf("doc/man/%s is of a command that is gone: run make man", filepath.Base(path))
		}
	}
}
