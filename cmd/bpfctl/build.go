package main

import (
	"context"
	"errors"
	"os"

	"bpfd/internal/compile"

	"github.com/spf13/cobra"
)

func newBuild() *cobra.Command {
	o := compile.Options{Stderr: os.Stderr, Warn: warn}
	cmd := &cobra.Command{
		Use:     "build [flags] PROG.c [-- CLANG-FLAGS]",
		Short:   buildShort,
		Long:    buildLong,
		Example: buildExample,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Source, o.Flags = args[0], args[1:]
			return there(cmd, func(context.Context) error {
				_, err := compile.Build(o)
				if errors.Is(err, compile.ErrRefused) {
					return exitStatus(statusRefused)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&o.Output, "output", "o", "", buildOutputUsage)
	cmd.Flags().StringVar(&o.BTF, "btf", "", buildBTFUsage)
	return cmd
}
