// Command inguest runs a command inside of a running virtual machine, as if it
// were here: inguest PORT COMMAND [ARGUMENT]... passes on standard output and
// error, signals and the status. PORT is the host's, VM.Port(guest.CommandPort).
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"bpfd/test/vm"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: inguest PORT COMMAND [ARGUMENT]...")
		os.Exit(2)
	}
	status, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "inguest:", err)
		os.Exit(125)
	}
	os.Exit(status)
}

func run(port string, args []string) (int, error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	c := &vm.Cmd{Args: args, Stdout: os.Stdout, Stderr: os.Stderr}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := c.StartAt(n); err != nil {
		return 0, err
	}
	if err := c.CloseStdin(); err != nil {
		return 0, err
	}
	for {
		select {
		case s := <-signals:
			if err := c.Signal(s.(syscall.Signal)); err != nil {
				return 0, err
			}
		case <-c.Done():
			return c.Wait()
		}
	}
}
