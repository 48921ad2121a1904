// Command bpfd runs BPF system calls for a bpfctl on another machine. It
// speaks over its standard input and output; see bpfd(8).
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"bpfd/internal/agent"
	"bpfd/internal/sys"
)

// version is set by the linker.
var version = "devel"

// mounted in the environment tells this program that it has executed itself, in
// a mount namespace with what was missing.
const mounted = "BPFD_MOUNTED"

const usage = `usage: bpfd [--version] [--help]

bpfd waits for a bpfctl on its standard input and makes the BPF system calls
that it asks for. Everything that a session made is gone when its input ends.
`

func main() {
	if os.Getenv(mounted) == "" && len(os.Args) == 1 && agent.MountMissing() {
		syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), mounted+"=1"))
	}
	debug.SetGCPercent(50)
	for _, arg := range os.Args[1:] {
		switch arg {
		case "--version":
			fmt.Println("bpfd", version)
		case "--help", "-h":
			fmt.Print(usage)
		default:
			fmt.Fprintf(os.Stderr, "bpfd: unknown argument %q\n%s", arg, usage)
			os.Exit(2)
		}
		return
	}
	go sys.Heartbeat(nil) // as long as the process lives
	if err := agent.Serve(0, 1, nil, agent.Options{Software: "bpfd " + version}); err != nil {
		fmt.Fprintln(os.Stderr, "bpfd:", err)
		os.Exit(1)
	}
}
