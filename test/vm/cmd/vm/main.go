// Command vm boots a virtual machine and leaves a bpfd reachable in it, until
// Ctrl-C.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"bpfd/test/vm"
	"bpfd/test/vm/guest"
)

func main() {
	cpus := flag.Int("cpus", 2, "number of processors")
	memory := flag.Int("memory", 512, "memory in MiB")
	ssh := flag.Bool("ssh", false, "with an ssh server")
	adb := flag.Bool("adb", false, "with Android's adbd")
	load := flag.Bool("load", true, "run the workload: files opened, processes spawned, disk and network used")
	flag.Usage = usage
	flag.Parse()
	if flag.NArg() != 1 {
		usage()
		os.Exit(2)
	}
	opts := []vm.Option{vm.WithCPUs(*cpus), vm.WithMemory(*memory)}
	if *ssh {
		opts = append(opts, vm.WithSSH())
	}
	if *adb {
		opts = append(opts, vm.WithADB())
	}
	if *load {
		opts = append(opts, vm.WithLoad())
	}
	if err := run(flag.Arg(0), opts...); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: vm [flags] KERNEL\n\nkernels:")
	for _, r := range vm.Rows {
		fmt.Fprintf(os.Stderr, "  %-18s %s\n", r.Name, r.Note)
	}
	fmt.Fprintln(os.Stderr, "\nflags:")
	flag.PrintDefaults()
}

func run(name string, opts ...vm.Option) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	row, err := vm.RowOf(name)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "vm: booting "+name+"; its kernel is fetched, or built, if this is the first time")
	v, err := vm.Boot(ctx, row, opts...)
	if err != nil {
		return err
	}
	defer v.Close()
	fmt.Printf(`%s runs Linux %s; Ctrl-C ends it.

one bpfctl at a time, fast:  bpfctl run -t '%s' -- bpftool prog list
several at once:             bpfctl run -t '%s' -- bpftool prog list
ssh and adb:                 127.0.0.1:%d, 127.0.0.1:%d
`, name, v.Release, v.Target(), v.TargetTCP(), v.Port(guest.SSHPort), v.Port(guest.ADBPort))
	select {
	case <-ctx.Done():
		return nil
	case <-v.Exited():
		return fmt.Errorf("the machine has ended:\n%s", v.Console())
	}
}
