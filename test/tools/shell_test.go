package tools

import (
	"path/filepath"
	"testing"

	"bpfd/test/suite"
)

// TestShell runs all rows of the suite on this machine, and through a bpfd on it.
func TestShell(t *testing.T) {
	path, err := filepath.Abs(bpfctl)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := suite.BuildPrograms(dir); err != nil {
		t.Fatal(err)
	}
	suite.Run(t, suite.Target{
		Name:     "shell",
		URL:      "shell:",
		Bpfctl:   path,
		Dir:      dir,
		Env:      []string{"BCC_KERNEL_SOURCE=" + headers(t)},
		Parallel: 4,
	}, suite.Rows())
}
