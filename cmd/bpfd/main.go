// Command bpfd runs BPF system calls for a bpfctl on another machine. It
// speaks over its standard input and output; see bpfd(8).
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"

	"bpfd/internal/agent"
	"bpfd/internal/sys"
	"bpfd/internal/text"
	"bpfd/internal/wire"
)

// version is set by the linker.
var version = "devel"

// mounted in the environment tells this program that it has executed itself, in
// a mount namespace with what was missing.
const mounted = "BPFD_MOUNTED"

const usage = `usage: bpfd [--version] [--help]

bpfd waits for a bpfctl on its standard input and makes the BPF system calls
that it asks for; or for lines of the text protocol, of which HELP gives a list.
Everything that a session made is gone when its input ends.
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
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "bpfd:", err)
		os.Exit(1)
	}
}

// serve speaks the protocol that the first byte is of. The banner comes before
// it: clients of the text protocol wait for that, those of the other skip it.
func serve() error {
	served := text.Prepare(0)
	defer text.Restore()
	if err := sys.WriteFull(1, []byte(text.Banner)); err != nil {
		return err
	}
	first := make([]byte, 4096)
	n, err := sys.NewReader(0).Read(first)
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	served()
	if first[0] == wire.Magic[0] {
		return agent.Serve(0, 1, first[:n], agent.Options{Software: "bpfd " + version})
	}
	return text.Serve(0, 1, first[:n], text.Options{Software: "bpfd " + version})
}
