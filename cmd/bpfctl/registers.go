package main

import (
	"runtime"

	"bpfd/internal/abi"
	"bpfd/internal/btffile"
	"bpfd/internal/supervisor"

	"github.com/spf13/cobra"
)

// registersFlag has tools that were compiled for this machine's architecture
// find registers on a target with another one.
const registersFlag = "registers"

// translateRegisters sets the options for registersFlag, and returns what is
// shown as type information that stands in for the target's.
func (c *connection) translateRegisters(cmd *cobra.Command, opts *supervisor.Options, standIn []byte) []byte {
	// Some commands that run tools have no such flag.
	wanted, err := cmd.Flags().GetBool(registersFlag)
	if err != nil || !wanted || c.client.Welcome.Info.Arch == runtime.GOARCH {
		return standIn
	}
	opts.Registers = true
	show := func(types []byte) []byte {
		shown, err := btffile.WithRegisters(types, abi.RegisterFields[runtime.GOARCH])
		if err != nil {
			warn(warnNoRegisters(c.target, err))
			return types
		}
		return shown
	}
	if standIn != nil {
		return show(standIn)
	}
	opts.ShownBTF = show
	return nil
}
