// Command bpfctl runs BPF tools of this machine against another one.
package main

import (
	"io"
	"log"
	"os"

	"bpfd/internal/spawn"
)

// version is set by the linker.
var version = "devel"

func main() {
	log.SetOutput(io.Discard) // libraries' own words: standard error is the tool's
	if os.Args[0] == spawn.StageName {
		os.Exit(spawn.Stage())
	}
	os.Exit(execute(os.Args[1:]))
}
