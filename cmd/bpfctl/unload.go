package main

import (
	"context"
	"fmt"

	"bpfd/internal/loader"

	"github.com/spf13/cobra"
)

func newUnload() *cobra.Command {
	return &cobra.Command{
		Use:     "unload DIR",
		Short:   unloadShort,
		Long:    unloadLong,
		Example: unloadExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return there(cmd, func(context.Context) error { return unload(args[0]) })
		},
	}
}

func unload(dir string) error {
	u, err := loader.Unload(dir)
	if u != nil {
		for _, d := range u.Detached {
			fmt.Println(detachedLine(d))
		}
		for _, p := range u.Removed {
			fmt.Println(removedLine(p))
		}
		for _, p := range u.Left {
			warn(leftBehind(p))
		}
		for _, x := range u.InUse {
			warn(stillInUse(string(x.Kind), x.Name, x.ID, x.Users))
		}
	}
	if err == nil && len(u.Left) > 0 {
		return exitStatus(statusLeft)
	}
	return err
}
