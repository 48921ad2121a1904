package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"bpfd/internal/loader"

	"github.com/spf13/cobra"
)

func newLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   lsShort,
		Long:    lsLong,
		Example: lsExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return there(cmd, func(context.Context) error { return list(os.Stdout, asJSON) })
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, lsJSONUsage)
	return cmd
}

func list(w io.Writer, asJSON bool) error {
	inv, err := loader.List()
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(inv)
	}
	table(w, lsPrograms, inv.Programs, func(o *loader.Object) []string { return []string{o.Name, numbers(o.Maps)} })
	fmt.Fprintln(w)
	table(w, lsMaps, inv.Maps, func(o *loader.Object) []string {
		return []string{o.Name, fmt.Sprintf("%d/%d/%d", o.Key, o.Value, o.Entries)}
	})
	fmt.Fprintln(w)
	return table(w, lsLinks, inv.Links, func(o *loader.Object) []string {
		if o.Program == 0 {
			return []string{"", o.Where}
		}
		return []string{fmt.Sprint(o.Program), o.Where}
	})
}

// table prints objects of a kind, with what cells says of each.
func table(w io.Writer, head string, list []*loader.Object, cells func(*loader.Object) []string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, head)
	for _, o := range list {
		row(t, o, cells(o)...)
	}
	return t.Flush()
}

// row prints an object and, in the last column, who keeps it.
func row(w io.Writer, o *loader.Object, cells ...string) {
	by := o.Pins
	for _, p := range o.Holders {
		by = append(by, p.String())
	}
	cells = append([]string{fmt.Sprint(o.ID), o.Type}, append(cells, strings.Join(by, " "))...)
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

func numbers(list []uint32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}
