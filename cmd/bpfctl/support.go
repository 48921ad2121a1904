package main

import (
	"fmt"
	"text/tabwriter"

	"bpfd/internal/abi"

	"github.com/spf13/cobra"
)

func newSupport() *cobra.Command {
	return &cobra.Command{
		Use:   "support",
		Short: supportShort,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "COMMAND\tSINCE\tSUPPORT\tNOTE")
			for _, c := range abi.Commands {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, c.Since, c.Level, c.Note)
			}
			return w.Flush()
		},
	}
}
