// Command bench measures tools natively and through bpfctl, side by side, and
// prints the ratios: absolute times of one machine mean nothing on another.
// With -write it writes them to doc/benchmarks.md as well.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"bpfd/internal/sys"
	"bpfd/test/testenv"
)

// benchmark is a row of the table. Ratios are remote to native, unless named
// otherwise.
type benchmark struct {
	name  string
	what  string
	goal  string // for people
	limit float64
	least bool // the ratio has to be limit at least, not at most
	run   func(*bench) (native, remote figure)
}

// figure is a measurement with its unit.
type figure struct {
	value float64
	text  string
}

var benchmarks = []benchmark{
	{"lookup", "one map lookup", "≤ 60 × native", 60, false, (*bench).lookup},
	{"roundtrip", "one map lookup, beside a bare round trip of as many bytes over pipes", "≤ 5 × the round trip", 5, false, (*bench).roundTrip},
	{"dump", "`bpftool map dump` of 10,000 entries, key by key", "≤ 3 × native", 3, false, (*bench).dump},
	{"walked", "a call which bpfctl answers by itself (a walk over 10,000 entries), beside a seccomp notification with nothing done", "≤ 4 × the notification", 4, false, (*bench).walked},
	{"print", "bpftrace prints a map of 10,000 entries, which it made", "≤ 3 × native", 3, false, (*bench).print},
	{"ringbuf", "BPF ring buffer: records of 24 bytes received at 1 M events/s", "nothing lost", 1, true, (*bench).ringbuf},
	{"perf", "perf buffer: highest rate without a loss", "≥ 0.9 × native", 0.9, true, (*bench).perf},
	{"bpftrace", "`bpftrace -e 'BEGIN { exit(); }'`", "≤ 1.5 × native", 1.5, false, wall("bpftrace", "-e", "BEGIN { exit(); }")},
	{"runqlat", "`runqlat 1 1`", "≤ 1.15 × native", 1.15, false, wall("runqlat", "1", "1")},
	{"probe", "`bpftool feature probe kernel`: 5,430 calls", "≤ 15 × native", 15, false, wall("bpftool", "feature", "probe", "kernel")},
	{"untrapped", "a system call that is not trapped (getppid)", "as native, within noise", 1.25, false, (*bench).untrapped},
	{"text-lookup", "text protocol: one map lookup over pipes by a client that looks before it sleeps; the goal beside what it takes", "≤ 10 µs", 1, false, (*bench).textLookup},
	{"text-dump", "text protocol: dump of 50,000 entries beside 100,000", "≤ 2.3 × the half", 2.3, false, (*bench).textDump},
	{"text-poll", "text protocol: records of 64 bytes drained from a full ring; the goal beside what is done", "≥ 1 M/s", 1, true, (*bench).textPoll},
	{"text-line", "text protocol: a line beside the memory it takes", "≤ 3 × the line", 3, false, (*bench).textLine},
	{"first-output", "`opensnoop` of bcc until its first event, inside of a guest with Linux 6.1 under QEMU and against it from here", "≤ 1 × native", 1, false, (*bench).firstOutput},
}

// bench holds what the benchmarks share.
type bench struct {
	bpfctl string
	load   string // the command test/bench/load
	dir    string
}

func main() {
	bpfctl := flag.String("bpfctl", "bin/bpfctl", "the bpfctl to measure")
	write := flag.String("write", "", "write the table to this file as well")
	only := flag.String("only", "", "names of benchmarks, separated by commas")
	if len(os.Args) > 1 && os.Args[1] == echoArg {
		echo()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == trappedArg {
		if err := trapped(); err != nil {
			fail("%v", err)
		}
		return
	}
	flag.Parse()
	go sys.Heartbeat(nil) // clients stay in read(2)
	if err := measure(*bpfctl, *write, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(bpfctl, write, only string) error {
	dir, err := os.MkdirTemp("", "bpfd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{bpfctl: bpfctl, load: dir + "/load", dir: dir}
	if err := testenv.Build(b.load, "./test/bench/load"); err != nil {
		return err
	}
	testenv.Mount()
	var table bytes.Buffer
	out := io.MultiWriter(os.Stdout, &table)
	fmt.Fprint(out, heading)
	for _, row := range benchmarks {
		if only != "" && !strings.Contains(","+only+",", ","+row.name+",") {
			continue
		}
		native, remote := row.run(b)
		ratio := remote.value / native.value
		verdict := "yes"
		if row.least && ratio < row.limit || !row.least && ratio > row.limit {
			verdict = "**no**"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %.2f | %s | %s |\n", row.what, native.text, remote.text, ratio, row.goal, verdict)
	}
	if write == "" {
		return nil
	}
	return os.WriteFile(write, append(table.Bytes(), remarks(write)...), 0o644)
}

// remarks returns what people wrote under a table of an earlier run.
func remarks(path string) []byte {
	old, err := os.ReadFile(path)
	i := bytes.LastIndex(old, []byte("|\n"))
	if err != nil || i < 0 {
		return nil
	}
	return old[i+len("|\n"):]
}

const heading = `# Benchmarks

Written by ` + "`make bench`" + `: each row runs natively and through ` + "`bpfctl run -t shell:`" + ` in turn, on the same machine, and
takes the medians. Only the ratios mean anything elsewhere.

| what | native | remote | ratio | goal | reached |
|---|---|---|---|---|---|
`
