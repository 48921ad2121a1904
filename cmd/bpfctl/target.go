package main

import (
	"os"
	"regexp"

	"bpfd/internal/transport"

	"github.com/spf13/cobra"
)

// targetOf returns the target that the command line or the environment names.
func targetOf(cmd *cobra.Command) (string, error) {
	t, err := cmd.Flags().GetString("target")
	if err != nil {
		return "", err
	}
	if t == "" {
		t = os.Getenv("BPFD_TARGET")
	}
	if t == "" {
		return "", errNoTarget()
	}
	return t, nil
}

// parseTarget returns the name of a command's target, and what it stands for.
func parseTarget(cmd *cobra.Command) (string, transport.Target, error) {
	name, err := targetOf(cmd)
	if err != nil {
		return "", transport.Target{}, err
	}
	t, err := transport.Parse(resolve(name))
	return name, t, err
}

// machine is what ssh takes as a destination: [user@]host.
var machine = regexp.MustCompile(`^([\w.-]+@)?[\w.-]+$`)

// resolve returns the URL that a target's name stands for.
func resolve(name string) string {
	if machine.MatchString(name) {
		return "ssh://" + name
	}
	return name
}
