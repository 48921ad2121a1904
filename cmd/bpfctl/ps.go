package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"bpfd/internal/procs"

	"github.com/spf13/cobra"
)

func newPs() *cobra.Command {
	return &cobra.Command{
		Use: "ps", Short: psShort, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, _, err := processes(cmd)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "PID\tPPID\tUID\tNAME\tCOMMAND")
			for _, p := range list {
				fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\n", p.PID, p.PPID, p.UID, p.Name, p.Command())
			}
			return w.Flush()
		},
	}
}

func newPid() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pid NAME", Short: pidShort, Long: pidLong, Example: pidExample, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, target, err := processes(cmd)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(p procs.Process) bool { return !p.Called(args[0]) })
			if len(list) == 0 {
				return errNoProcess(target, args[0])
			}
			slices.SortStableFunc(list, func(a, b procs.Process) int { return int(a.Started) - int(b.Started) })
			if one, _ := cmd.Flags().GetBool("one"); one {
				list = list[:1]
			}
			for _, p := range list {
				fmt.Fprintln(cmd.OutOrStdout(), p.PID)
			}
			return nil
		},
	}
	cmd.Flags().Bool("one", false, pidOneUsage)
	return cmd
}

// processes returns the processes of the command's target.
func processes(cmd *cobra.Command) ([]procs.Process, string, error) {
	c, err := connect(cmd)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	list, err := procs.List(c.client)
	if err != nil {
		return nil, "", errTarget(c.target, c.explain(err))
	}
	own := int(c.client.Welcome.Info.Pid)
	return slices.DeleteFunc(list, func(p procs.Process) bool { return p.PID == own }), c.target, nil
}
