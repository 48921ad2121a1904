package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"bpfd/internal/loader"
	"bpfd/internal/remotefs"

	"github.com/spf13/cobra"
)

// loadFlags are the flags of load.
type loadFlags struct {
	loader.Options
	maps, sets, events []string
	json               bool
	log                string
	script, scriptFor  string
}

func newLoad() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:     "load [flags] PROG.o",
		Short:   loadShort,
		Long:    loadLong,
		Example: loadExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Object = args[0]
			if !cmd.Flags().Changed("attach") {
				f.Attach = f.Pin == ""
			}
			if err := f.parse(); err != nil {
				return err
			}
			if f.script != "" || f.scriptFor != "" {
				return f.makeScript(cmd)
			}
			return there(cmd, f.run)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Pin, "pin", "", loadPinUsage)
	fl.BoolVar(&f.Attach, "attach", false, loadAttachUsage)
	fl.StringArrayVar(&f.maps, "map", nil, loadMapUsage)
	fl.StringArrayVar(&f.sets, "set", nil, loadSetUsage)
	fl.StringVar(&f.BTF, "btf", "", loadBTFUsage)
	fl.StringVar(&f.Where.Interface, "ifname", "", loadIfnameUsage)
	fl.StringVar(&f.Where.Cgroup, "cgroup", "", loadCgroupUsage)
	fl.IntVar(&f.Where.Frequency, "freq", 99, loadFreqUsage)
	fl.BoolVar(&f.json, "json", false, loadJSONUsage)
	fl.StringArrayVar(&f.events, "event", nil, loadEventUsage)
	fl.StringVar(&f.log, "log", "", loadLogUsage)
	fl.BoolVarP(&f.Verbose, "verbose", "v", false, loadVerboseUsage)
	fl.StringVar(&f.script, "script", "", loadScriptUsage)
	fl.StringVar(&f.scriptFor, "for", "", loadForUsage)
	return cmd
}

// parse reads the flags that are pairs.
func (f *loadFlags) parse() (err error) {
	if f.Maps, err = pairs("map", f.maps); err != nil {
		return err
	}
	f.Set, err = pairs("set", f.sets)
	f.LogLines = logLines
	f.Where.Root = remotefs.TargetRoot
	return err
}

// pairs reads values of the form NAME=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, errPair(flag, s)
		}
		if _, twice := m[name]; twice {
			return nil, errTwice(flag, name)
		}
		m[name] = value
	}
	return m, nil
}

// run loads; without a pin it prints what buffers carry until it is told to end.
func (f *loadFlags) run(ctx context.Context) error {
	l, err := loader.Load(ctx, f.Options)
	if err != nil {
		return writeLog(f.log, err)
	}
	defer l.Close()
	for name, p := range l.Programs {
		if f.Verbose {
			verifierLog(name, p.VerifierLog)
		}
	}
	if f.Pin != "" {
		report(os.Stdout, l)
		return nil
	}
	return f.follow(ctx, l)
}

// follow prints what happens until the context ends.
func (f *loadFlags) follow(ctx context.Context, l *loader.Loaded) error {
	o := loader.EventOptions{JSON: f.json, Types: make(map[string]string), Out: os.Stdout, Lost: lostEvents}
	for _, e := range f.events {
		if name, t, ok := strings.Cut(e, "="); ok {
			o.Types[name] = t
		} else {
			o.Types[""] = e
		}
	}
	p, err := l.Printer(o)
	if err != nil {
		return err
	}
	report(os.Stderr, l)
	if err := l.PrintIterators(os.Stdout); err != nil {
		return err
	}
	return p.Run(ctx)
}

// report says what was attached and pinned.
func report(w io.Writer, l *loader.Loaded) {
	for _, a := range l.Links {
		fmt.Fprintln(w, attachedLine(a.Name, a.Where))
	}
	for _, p := range l.Pins {
		fmt.Fprintln(w, pinnedLine(p))
	}
	if len(l.Pins) == 0 {
		fmt.Fprintln(w, untilInterrupted)
	}
}

// writeLog writes the verifier's log to a file, if an error has one.
func writeLog(path string, err error) error {
	r, ok := loader.AsRefused(err)
	if !ok || path == "" {
		return err
	}
	if e := os.WriteFile(path, []byte(strings.Join(r.Log, "\n")+"\n"), 0o644); e != nil {
		return errLog(err, e)
	}
	return err
}
