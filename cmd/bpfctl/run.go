package main

import (
	"bufio"
	"io"
	"os"

	"bpfd/internal/supervisor"

	"github.com/spf13/cobra"
)

func newRun() *cobra.Command {
	var tracePath string
	cmd := &cobra.Command{
		Use:   "run [flags] -- TOOL [ARGS]",
		Short: runShort,
		Long:  runLong,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withTrace(tracePath, func(trace io.Writer) error {
				return runTool(cmd, args, os.Environ(), supervisor.Options{Trace: trace})
			})
		},
	}
	// What follows the tool's name is the tool's.
	cmd.Flags().SetInterspersed(false)
	addHeaderFlags(cmd)
	cmd.Flags().Bool(registersFlag, false, registersUsage)
	cmd.Flags().StringVar(&tracePath, "trace", "", "print every proxied call to this `file`")
	return cmd
}

// withTrace calls run with the file to trace to, nil if there is none.
func withTrace(path string, run func(io.Writer) error) error {
	if path == "" {
		return run(nil)
	}
	f, err := os.Create(path)
	if err != nil {
		return errTrace(err)
	}
	w := bufio.NewWriter(f)
	err = run(w)
	if e := w.Flush(); e != nil {
		return errTrace(e)
	}
	if e := f.Close(); e != nil {
		return errTrace(e)
	}
	return err
}

// runTool connects to the target and runs a tool against it; see run.
func runTool(cmd *cobra.Command, args, env []string, opts supervisor.Options) error {
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.run(cmd, args, env, opts)
}

// run runs a tool against the target, with options to which it adds what
// follows from the command line and the target.
func (c *connection) run(cmd *cobra.Command, args, env []string, opts supervisor.Options) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if flag := startsHere(args); flag != "" {
		warn(warnStartsHere(args[0], flag, c.target))
	}
	h, env, err := newHeaders(cmd, c, env)
	if err != nil {
		return err
	}
	btf, err := standInBTF(cmd, c)
	if err != nil {
		return err
	}
	missed := newMissed(args)
	missed.checkPIDs(c, args)
	opts.Path, opts.Args, opts.Env, opts.Dir = args[0], args, toolEnv(env, &c.client.Welcome.Info), dir
	opts.Headers, opts.BTF = h, c.translateRegisters(cmd, &opts, btf)
	opts.User, opts.Warn, opts.Absent, opts.Cut = !privileged(), warn, missed.note, c.conn.Kill
	opts.NoFunction = missed.noteFunction
	status, err := supervisor.Run(c.client, opts)
	if err != nil {
		return c.explain(err)
	}
	if status != 0 {
		missed.explain(c, status)
		return exitStatus(status)
	}
	return nil
}
