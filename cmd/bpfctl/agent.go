package main

import (
	"fmt"
	"os"

	"bpfd/internal/transport"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newAgent() *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: agentShort, Long: agentLong, Example: agentExample}
	cmd.AddCommand(
		&cobra.Command{Use: "push", Short: agentPushShort, Args: cobra.NoArgs, RunE: agentPush},
		&cobra.Command{Use: "status", Short: agentStatusShort, Args: cobra.NoArgs, RunE: agentStatus},
		&cobra.Command{Use: "rm", Short: agentRemoveShort, Args: cobra.NoArgs, RunE: agentRemove},
	)
	return cmd
}

func agentPush(cmd *cobra.Command, _ []string) error {
	name, t, err := parseTarget(cmd)
	if err != nil {
		return err
	}
	path, err := transport.Push(t, transport.Options{Progress: sending(name)})
	if err != nil {
		return errTarget(name, err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), path)
	return nil
}

func agentStatus(cmd *cobra.Command, _ []string) error {
	return printPaths(cmd, transport.Pushed)
}

func agentRemove(cmd *cobra.Command, _ []string) error {
	return printPaths(cmd, transport.Remove)
}

func printPaths(cmd *cobra.Command, f func(transport.Target) ([]string, error)) error {
	name, t, err := parseTarget(cmd)
	if err != nil {
		return err
	}
	paths, err := f(t)
	if err != nil {
		return errTarget(name, err)
	}
	for _, path := range paths {
		fmt.Fprintln(cmd.OutOrStdout(), path)
	}
	return nil
}

// sending shows how far the sending of bpfd is, if somebody looks on.
func sending(target string) func(transport.Progress) {
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return func(p transport.Progress) { showProgress(target, p) }
}
