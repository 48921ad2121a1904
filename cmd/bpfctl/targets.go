package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"bpfd/internal/config"
	"bpfd/internal/transport"

	"github.com/spf13/cobra"
)

// newTarget makes the commands for the names of targets.
func newTarget() *cobra.Command {
	cmd := &cobra.Command{Use: "target", Short: targetShort, Long: targetLong, Example: targetExample}
	add := &cobra.Command{Use: "add NAME URL", Short: targetAddShort, Args: cobra.ExactArgs(2), RunE: targetAdd}
	add.Flags().String("headers", "", targetHeadersUsage)
	add.Flags().String("btf", "", targetBTFUsage)
	add.Flags().Bool("force", false, targetForceUsage)
	cmd.AddCommand(add,
		&cobra.Command{Use: "ls", Short: targetListShort, Args: cobra.NoArgs, RunE: targetList},
		&cobra.Command{Use: "show NAME", Short: targetShowShort, Args: cobra.ExactArgs(1), RunE: targetShow, ValidArgsFunction: completeTarget},
		&cobra.Command{Use: "use [NAME]", Short: targetUseShort, Args: cobra.MaximumNArgs(1), RunE: targetUse, ValidArgsFunction: completeName},
		&cobra.Command{Use: "rm NAME...", Short: targetRemoveShort, Args: cobra.MinimumNArgs(1), RunE: targetRemove, ValidArgsFunction: completeName})
	return cmd
}

// completeName offers the names in the configuration.
func completeName(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := config.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return c.Names(), cobra.ShellCompDirectiveNoFileComp
}

func targetAdd(cmd *cobra.Command, args []string) error {
	name, url := args[0], args[1]
	if err := config.CheckName(name); err != nil {
		return err
	}
	// What is no URL is user@host or a host, not another name.
	r := config.Resolver{Config: &config.Config{}, Hosts: func() []string { return nil }, Serials: func() []string { return nil }}
	t, err := r.Resolve(url)
	if err != nil {
		return err
	}
	if _, err := transport.Parse(t.URL); err != nil {
		return err
	}
	if path, ok := strings.CutPrefix(t.URL, "unix:"); ok && path[0] != '@' {
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		t.URL = "unix:" + path
	}
	for flag, path := range map[string]*string{"headers": &t.Headers, "btf": &t.BTF} {
		if *path, err = absolute(cmd, flag); err != nil {
			return err
		}
	}
	force, _ := cmd.Flags().GetBool("force")
	return config.Update(func(c *config.Config) error {
		if old, ok := c.Targets[name]; ok && !force {
			return errTargetExists(name, old.URL)
		}
		c.Targets[name] = t
		return nil
	})
}

// absolute returns the path that a flag names, whatever directory it will be
// used in.
func absolute(cmd *cobra.Command, flag string) (string, error) {
	path, err := cmd.Flags().GetString(flag)
	if err != nil || path == "" {
		return "", err
	}
	return filepath.Abs(path)
}

func targetList(cmd *cobra.Command, _ []string) error {
	c, err := config.Load()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tURL\tDEFAULT")
	for _, name := range c.Names() {
		mark := ""
		if name == c.Default {
			mark = "*"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, c.Targets[name].URL, mark)
	}
	return w.Flush()
}

func targetShow(cmd *cobra.Command, args []string) error {
	t, err := resolve(args[0])
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	fmt.Fprintln(w, "url:", t.URL)
	if t.Headers != "" {
		fmt.Fprintln(w, "headers:", t.Headers)
	}
	if t.BTF != "" {
		fmt.Fprintln(w, "btf:", t.BTF)
	}
	return nil
}

// targetUse makes a target the default; without a name there is none any more.
func targetUse(_ *cobra.Command, args []string) error {
	return config.Update(func(c *config.Config) error {
		c.Default = ""
		if len(args) == 0 {
			return nil
		}
		if _, ok := c.Targets[args[0]]; !ok {
			return errNoSuchTarget(args[0])
		}
		c.Default = args[0]
		return nil
	})
}

func targetRemove(_ *cobra.Command, args []string) error {
	return config.Update(func(c *config.Config) error {
		for _, name := range args {
			if _, ok := c.Targets[name]; !ok {
				return errNoSuchTarget(name)
			}
			delete(c.Targets, name)
			if c.Default == name {
				c.Default = ""
			}
		}
		return nil
	})
}
