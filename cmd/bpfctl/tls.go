package main

import (
	"fmt"
	"os"
	"time"

	"bpfd/internal/mtls"
	"bpfd/internal/transport"

	"github.com/spf13/cobra"
)

// day is what a certificate's life is counted in.
const day = 24 * time.Hour

func newTLS() *cobra.Command {
	cmd := &cobra.Command{Use: "tls", Short: tlsShort, Long: tlsLong, Example: tlsExample}
	cmd.AddCommand(newTLSInit(), newTLSEnroll())
	return cmd
}

func newTLSInit() *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use: "init", Short: tlsInitShort, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			life, err := lifeOf(days)
			if err != nil {
				return err
			}
			dir, err := transport.TLSDir()
			if err != nil {
				return err
			}
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			if err := mtls.Init(dir); err != nil {
				return err
			}
			if err := mtls.Issue(dir, dir, mtls.Host, life, name); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), dir)
			return nil
		},
	}
	cmd.Flags().IntVar(&days, "days", 825, tlsDaysUsage)
	return cmd
}

func newTLSEnroll() *cobra.Command {
	var (
		days int
		out  string
		host bool
	)
	cmd := &cobra.Command{
		Use: "enroll NAME|ADDRESS ...", Short: tlsEnrollShort, Long: tlsEnrollLong, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			life, err := lifeOf(days)
			if err != nil {
				return err
			}
			dir, err := transport.TLSDir()
			if err != nil {
				return err
			}
			if out == "" {
				out = "bpfd-tls-" + names[0]
			}
			role := mtls.Target
			if host {
				role = mtls.Host
			}
			if err := mtls.Issue(dir, out, role, life, names...); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out)
			return nil
		},
	}
	cmd.Flags().IntVar(&days, "days", 825, tlsDaysUsage)
	cmd.Flags().StringVarP(&out, "output", "o", "", tlsOutputUsage)
	cmd.Flags().BoolVar(&host, "host", false, tlsHostUsage)
	return cmd
}

func lifeOf(days int) (time.Duration, error) {
	if days < 1 || days > 3650 {
		return 0, errDays()
	}
	return time.Duration(days) * day, nil
}
