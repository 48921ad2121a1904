package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"bpfd/internal/doctor"
)

// The words of doctor, ps and pid.
const (
	doctorShort = "examine a target: what its kernel can do, and which tools will work"
	doctorLong  = `doctor examines a target: its architecture and kernel, what the kernel allows,
how fast the link is, and for each BPF tool of this machine whether it will work
there, or what is missing and what to do about it.

A tool that can attach in several ways is said to work if the target allows one
of them.`
	doctorExample = `  bpfctl doctor -t root@board
  bpfctl doctor -t pixel --json | jq '.tools[] | select(.ok | not)'`
	doctorJSONUsage = "print the report as JSON"

	psShort  = "list the processes of a target"
	pidShort = "print the pids of the processes with a name"
	pidLong  = `pid prints the pids of the target's processes that are called NAME, one a line, the
oldest first: by the name of the process, of its program's file, or by the first
word of its command line, as Android's apps are known. It fails if there is none.`
	pidExample  = `  bpfctl run -t pixel -- opensnoop-bpfcc -p "$(bpfctl pid -t pixel --one surfaceflinger)"`
	pidOneUsage = "print the oldest only"
)

func printReport(out io.Writer, r *doctor.Report) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, f := range r.Findings {
		mark := "ok"
		if !f.OK {
			mark = "--"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", mark, f.Name, f.Value)
		if f.Advice != "" {
			fmt.Fprintf(w, "\t\t%s\n", f.Advice)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	work := 0
	for _, t := range r.Tools {
		if t.OK {
			work++
		}
	}
	fmt.Fprintf(out, "\n%d of the %d BPF tools on this machine will work on %s.\n", work, len(r.Tools), r.Target)
	return printReasons(out, r.Tools)
}

// printReasons prints the tools that will not work, by the reason.
func printReasons(out io.Writer, tools []doctor.Verdict) error {
	var reasons []string
	names := make(map[string][]string)
	for _, t := range tools {
		if t.OK {
			continue
		}
		if names[t.Reason] == nil {
			reasons = append(reasons, t.Reason)
		}
		names[t.Reason] = append(names[t.Reason], t.Tool)
	}
	for _, reason := range reasons {
		if _, err := fmt.Fprintf(out, "\n%d will not: %s\n", len(names[reason]), reason); err != nil {
			return err
		}
		line := " "
		for _, name := range names[reason] {
			if len(line)+1+len(name) > 100 {
				fmt.Fprintln(out, line)
				line = " "
			}
			line += " " + name
		}
		fmt.Fprintln(out, line)
	}
	return nil
}

func errLacks(n doctor.Need) error { return errors.New(doctor.Cause(n)) }

func errNoProcess(target, name string) error {
	return fmt.Errorf("%s: no process is called %s", target, name)
}

func errNoFunction(name string) error {
	return fmt.Errorf("the kernel has no function %s to put a kprobe at", name)
}

func errNoPID(pid string) error {
	return fmt.Errorf("no process has the pid %s there; bpfctl ps lists the target's", pid)
}
