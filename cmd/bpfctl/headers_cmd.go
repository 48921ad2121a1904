package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"bpfd/internal/headers"

	"github.com/spf13/cobra"
)

func newHeadersCmd() *cobra.Command {
	var fetch bool
	cmd := &cobra.Command{
		Use:     "headers",
		Short:   headersShort,
		Long:    headersLong,
		Example: headersExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			f := headers.NewFinder(c.client, &c.client.Welcome.Info, headers.Options{Progress: progress(progressHeaders(c.target))})
			if fetch {
				t, err := fetchHeaders(f, c.target)
				if err != nil {
					return c.explain(err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), t.Build)
				return err
			}
			return printHeaders(cmd.OutOrStdout(), f)
		},
	}
	cmd.Flags().BoolVar(&fetch, "fetch", false, fetchUsage)
	return cmd
}

// fetchHeaders gets headers from where they are best.
func fetchHeaders(f *headers.Finder, target string) (headers.Tree, error) {
	var t headers.Tree
	var err error
	if f.Available() {
		t, err = f.Find()
	} else if p := f.Package(); p != nil && p.Fetchable() {
		var shown io.Writer
		if isTerminal(os.Stderr) {
			shown = os.Stderr
		}
		t, err = f.FetchPackage(p, shown)
	} else {
		return t, errNoHeaders(target, f)
	}
	if err != nil {
		return t, errTarget(target, err)
	}
	return t, nil
}

// printHeaders says where headers are and could be.
func printHeaders(w io.Writer, f *headers.Finder) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range headersRows(f) {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	return t.Flush()
}
