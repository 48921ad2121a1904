package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// exitStatus ends the program with a status of its own.
type exitStatus int

func (e exitStatus) Error() string { return "" }

// execute runs the command line and returns the exit status.
func execute(args []string) int {
	cmd := newRoot()
	cmd.SetArgs(args)
	err := cmd.Execute()
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	failure(err)
	return statusOf(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "bpfctl",
		Short:         rootShort,
		Long:          rootLong,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringP(targetFlag, "t", "", targetUsage)
	root.RegisterFlagCompletionFunc(targetFlag, completeTarget)
	root.PersistentFlags().Bool(thereFlag, false, "")
	root.PersistentFlags().MarkHidden(thereFlag)
	for _, c := range commands {
		c := c()
		if !c.Runnable() {
			onlySubcommands(c)
		}
		root.AddCommand(c)
	}
	return root
}

// onlySubcommands has a command without one of its own refuse what is no
// subcommand, for which cobra prints the help and succeeds.
func onlySubcommands(c *cobra.Command) {
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// commands are the subcommands, in the order of the help.
var commands = []func() *cobra.Command{
	newRun, newShell,
	newLoad, newUnload, newLs, newBuild,
	newTarget, newAgent, newDoctor, newPs, newPid, newHeadersCmd,
	newText,
	newTLS,
	newSupport,
}
