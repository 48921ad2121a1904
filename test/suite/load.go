package suite

import (
	"context"
	"path/filepath"
	"runtime"

	"bpfd/test/testenv"
)

// BuildLoad builds the program that makes the load, for an architecture as Go
// spells it, and returns its path. It is linked statically.
func BuildLoad(dir, arch string) (string, error) {
	path := filepath.Join(dir, "load")
	return path, testenv.Build(path, "bpfd/test/suite/load", "GOOS=linux", "GOARCH="+arch)
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
	return startProcess(command{ctx: context.Background(), args: args}, `^\d+( \d+){2}$`)
}
