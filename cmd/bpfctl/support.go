package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"bpfd/internal/abi"

	"github.com/spf13/cobra"
)

func newSupport() *cobra.Command {
	return &cobra.Command{
		Use:     "support",
		Short:   supportShort,
		Long:    supportLong,
		Example: supportExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			printSupport(w)
			return w.Flush()
		},
	}
}

// printSupport prints the tables by which calls are answered.
func printSupport(w io.Writer) {
	row := func(cells ...any) { fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", cells...) }
	row(supportHeads(headCommand)...)
	for i := range abi.Commands {
		c := &abi.Commands[i]
		row(c.Name, c.Since, c.Level, c.Note)
	}
	row("", "", "", "")
	row(supportHeads(headMapType)...)
	for i := range abi.MapTypes[1:] {
		m := &abi.MapTypes[i+1]
		row(m.Name, m.Since, m.Level, m.Note)
	}
	row("", "", "", "")
	row(supportHeads(headPerf)...)
	for _, p := range abi.PerfCalls {
		row(p.Name, p.Since, p.Level, p.Note)
	}
	for _, nr := range slices.Sorted(maps.Keys(abi.PerfIoctls)) {
		i := abi.PerfIoctls[nr]
		row(i.Name, i.Since, abi.Full, i.Note)
	}
}
