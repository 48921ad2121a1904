package main

import (
	"os"
	"slices"

	"bpfd/internal/config"
	"bpfd/internal/transport"

	"github.com/spf13/cobra"
)

// targetFlag names the target of every command that has one.
const targetFlag = "target"

// targetOf returns the target that the command line, the environment or the
// configuration names, in this order.
func targetOf(cmd *cobra.Command) (string, error) {
	t, err := cmd.Flags().GetString(targetFlag)
	if err != nil {
		return "", err
	}
	if t == "" && cmd.Flags().Changed(targetFlag) {
		return "", errEmptyTarget() // "$BOARD" of somebody who has not set it
	}
	if t == "" {
		t = os.Getenv("BPFD_TARGET")
	}
	if t == "" {
		c, err := config.Load()
		if err != nil {
			return "", err
		}
		t = c.Default
	}
	if t == "" {
		return "", errNoTarget()
	}
	return t, nil
}

// parseTarget returns the name of a command's target, and what it stands for.
// What the configuration says of the target becomes the default of flags.
func parseTarget(cmd *cobra.Command) (string, transport.Target, error) {
	name, err := targetOf(cmd)
	if err != nil {
		return "", transport.Target{}, err
	}
	found, err := resolve(name)
	if err != nil {
		return name, transport.Target{}, err
	}
	for flag, value := range map[string]string{"headers": found.Headers, "btf": found.BTF} {
		if f := cmd.Flags().Lookup(flag); f != nil && !f.Changed && value != "" {
			if err := cmd.Flags().Set(flag, value); err != nil {
				return name, transport.Target{}, err
			}
		}
	}
	t, err := transport.Parse(found.URL)
	return name, t, err
}

// resolve returns what a target's name stands for. A URL needs no configuration,
// and so none that can be read.
func resolve(name string) (config.Target, error) {
	c := &config.Config{}
	if config.CheckName(name) == nil {
		var err error
		if c, err = config.Load(); err != nil {
			return config.Target{}, err
		}
	}
	r := config.Resolver{Config: c, Hosts: config.SSHHosts, Serials: transport.Devices}
	return r.Resolve(name)
}

// completeTarget offers what a target can be called.
func completeTarget(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	if c, err := config.Load(); err == nil {
		for _, name := range c.Names() {
			all = append(all, name+"\t"+c.Targets[name].URL)
		}
	}
	for _, host := range config.SSHHosts() {
		all = append(all, host+"\tssh")
	}
	for _, serial := range transport.Devices() {
		all = append(all, "adb:"+serial+"\tadb")
	}
	all = append(all, "shell:\t"+transport.Schemes[0].Help)
	slices.Sort(all)
	return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
}
