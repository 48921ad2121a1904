package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"text/tabwriter"

	"bpfd/internal/loader"

	"github.com/spf13/cobra"
)

// isRelease matches what is a kernel's release and no target.
var isRelease = regexp.MustCompile(`^[0-9]+\.[0-9]+`)

// makeScript writes the commands of the text protocol that load the object, for
// a target that is asked about itself, or for a kernel of which only the
// release is known.
func (f *loadFlags) makeScript(cmd *cobra.Command) error {
	if f.script == "" || f.scriptFor == "" {
		return errScriptFor
	}
	if f.Pin != "" || len(f.maps) > 0 {
		return errScriptPin
	}
	if isRelease.MatchString(f.scriptFor) {
		return f.writeScript(loader.Kernel{Release: f.scriptFor, Absent: true})
	}
	if err := cmd.Flags().Set("target", f.scriptFor); err != nil {
		return err
	}
	return there(cmd, func(context.Context) error { return f.writeScript(loader.RunningKernel()) })
}

func (f *loadFlags) writeScript(k loader.Kernel) error {
	s, err := loader.WriteScript(f.Options, k)
	if err != nil {
		return err
	}
	if err := s.Save(f.script); err != nil {
		return err
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, scriptHead)
	for _, o := range s.Objects {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", o.Number, o.Kind, o.Name, o.Read)
	}
	return t.Flush()
}
