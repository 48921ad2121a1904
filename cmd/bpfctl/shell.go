package main

import (
	"os"
	"path/filepath"

	"bpfd/internal/supervisor"

	"github.com/spf13/cobra"
)

func newShell() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shell",
		Short: shellShort,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			target, err := targetOf(cmd)
			if err != nil {
				return err
			}
			shell := os.Getenv("SHELL")
			if shell == "" {
				shell = "/bin/sh"
			}
			return runTool(cmd, shellArgs(shell), markPrompt(os.Environ(), target), supervisor.Options{Foreground: true})
		},
	}
	addHeaderFlags(cmd)
	cmd.Flags().Bool(registersFlag, false, registersUsage)
	return cmd
}

// shellArgs keeps the start-up files of bash and zsh from replacing the marked
// prompt: bash shows PROMPT_COMMAND's text, zsh and sh honour PS1.
func shellArgs(shell string) []string {
	if filepath.Base(shell) == "zsh" {
		return []string{shell, "-f"}
	}
	return []string{shell}
}

// markPrompt has the shell's prompt name the target.
func markPrompt(env []string, target string) []string {
	mark := "(" + target + ") "
	return append(env, "BPFD_TARGET="+target, "PS1="+mark+`\$ `, "PROMPT_COMMAND=printf %s '"+mark+"'")
}
