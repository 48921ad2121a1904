package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"bpfd/internal/supervisor"

	"github.com/spf13/cobra"
)

// thereFlag marks the process that a command starts to act on the target.
const thereFlag = "on-target"

// there calls f where bpf(2), /proc and /sys are the target's: in a process of
// its own, which is bpfctl again, run as any tool is. The context ends when
// the user or the target's end asks for it.
func there(cmd *cobra.Command, f func(context.Context) error) error {
	if inside, err := cmd.Flags().GetBool(thereFlag); err == nil && inside {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		err := f(ctx)
		if errors.Is(err, context.Canceled) {
			failure(errInterrupted)
			return exitStatus(statusInterrupted)
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Types that the command line names are the command's own affair; those that
	// the configuration names stand in for a kernel's.
	tool := &cobra.Command{}
	addHeaderFlags(tool)
	types := cmd.Flags().Lookup("btf")
	given := types == nil || types.Changed
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	if !given {
		if err := tool.Flags().Set("btf", types.Value.String()); err != nil {
			return err
		}
	}
	return c.run(tool, slices.Concat([]string{self, "--" + thereFlag}, os.Args[1:]), os.Environ(), supervisor.Options{})
}
