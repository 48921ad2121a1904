package suite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// BuildLoad builds the program that makes the load, for an architecture as Go
// spells it, and returns its path. It is linked statically.
func BuildLoad(dir, arch string) (string, error) {
	path := filepath.Join(dir, "load")
	cmd := exec.Command("go", "build", "-o", path, "bpfd/test/suite/load")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// startLoad starts the target's load. It runs until it is stopped.
func startLoad(t Target) (*process, error) {
	load := t.Load
	if load == nil {
		path, err := BuildLoad(t.Dir, runtime.GOARCH)
		if err != nil {
			return nil, err
		}
		load = []string{path}
	}
	args := append(t.Native[:len(t.Native):len(t.Native)], load...)
	return startProcess(command{ctx: context.Background(), args: args}, `^\d+ \d+$`)
}
