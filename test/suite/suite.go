// Package suite holds real tools and what must be seen when they run: a table
// of rows, a runner for natively and remotely, and the comparison.
//
// To add a target, describe it in a Target and call Run from a test:
//
//	suite.Run(t, suite.Target{
//		Name:   "6.1-amd64",
//		URL:    "ssh://root@127.0.0.1:2222",
//		Bpfctl: "../../bin/bpfctl",
//		Native: []string{"../../bin/in-guest", "6.1-amd64", "--"},
//		Load:   []string{"/bin/load"},
//	}, suite.Rows())
//
// Native is put in front of a command that is to run on the target without
// bpfctl. It must pass on standard output, standard error, the exit status,
// SIGINT and SIGTERM, and end the command when it is ended. The tools must be
// installed there in the version that this machine has; Lacks says of a row
// why it cannot run there. BuildLoad builds what makes the load, BuildPrograms
// what is in Dir, under the same path here and there.
//
// With -results DIR, each target's outcome is kept in DIR/NAME.json, from which
// test/suite/report makes doc/tools.md; make tools-report does both.
package suite

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"
)

// Compare says how much alike two outputs must be.
type Compare int

const (
	// Shape is for what differs from run to run: each of the row's expressions
	// must match a line, natively and remotely.
	Shape Compare = iota
	// Exact is for what is the same each time: all bytes.
	Exact
	// Masked is Exact, but for numbers.
	Masked
)

// Row is a tool with its arguments, and what must be seen. In its words and
// expressions, {pid} is the load's process, {shell} that of a shell beside it
// and {python} that of a Python, {disk} a disk of the target, {cgroup} its cgroup2, {dir} is Target.Dir, and
// {pin} is a path in a BPF file system that is removed after the runs.
type Row struct {
	Family string // of tools, as doc/tools.md has it
	Name   string // unique in its family
	Args   []string
	Env    []string // in addition to the target's
	Flags  []string // of bpfctl run, in addition to the target's
	Stdin  string
	// Want are expressions that lines of standard output must match. A native
	// run which does not match has failed; it must then say a known reason.
	Want    []string
	Compare Compare
	// Interrupt is for tools that never end by themselves: SIGINT when all that
	// is wanted was seen.
	Interrupt bool
	// Setup and Cleanup are shell scripts that run natively, before the first
	// and after the last run of the tool.
	Setup, Cleanup string
	// After is one that runs natively after each run. What it prints is
	// compared as well.
	After string
	// Beside is a command that runs natively all the time, from when it has
	// printed something.
	Beside []string
	// Alone is for rows that look at the state of the whole kernel: nothing
	// else of the suite runs beside them, and they are run again if the kernel's
	// state was changed meanwhile.
	Alone bool
	// Fails is for rows that must fail: wrong usage, no such file.
	Fails bool
	// Registers is for programs that were compiled before and read registers.
	Registers bool
	// Remark is what users should know; it goes into doc/tools.md.
	Remark string
}

// Target is a machine on which the rows run natively and remotely.
type Target struct {
	Name     string   // a column of doc/tools.md
	URL      string   // for bpfctl run -t
	Bpfctl   string   // the program
	Flags    []string // of bpfctl run
	Native   []string // put before a command that runs on the target; nil for this machine
	Load     []string // a command, run natively, that makes the load and prints {pid}, {shell} and {python}; nil for the suite's
	Dir      string   // what BuildPrograms built, here and on the target
	Env      []string // of each tool
	Parallel int      // rows at a time; 0 for one
	Slow     int      // how many times longer than on this machine a tool may take; 0 for once
	// RemoteOnly is for targets that have no tools: rows run remotely, and what
	// must be seen is what the target's load is known to do.
	RemoteOnly bool
	// Lacks returns why a row cannot run natively on the target, or "".
	Lacks func(Row) string
}

var resultsDir = flag.String("results", "", "keep what came out in `DIR`, for doc/tools.md")

// Rows are all rows.
func Rows() []Row {
	var all []Row
	for _, rows := range [][]Row{bpftoolRows, bpftraceRows, btRows, libbpfRows, bccRows, programRows} {
		all = append(all, rows...)
	}
	return all
}

// allRows are those and the guests'.
func allRows() []Row { return slices.Concat(Rows(), guestRows, registerRows) }

// OtherBccRows are those of bcc's tools that have no row in GuestRows, for a
// guest in which this machine's programs make the load.
func OtherBccRows() []Row { return slices.DeleteFunc(slices.Clone(bccRows), Row.hasGuestRow) }

// hasGuestRow returns whether GuestRows has rows of the same tool of bcc.
func (row Row) hasGuestRow() bool {
	return slices.ContainsFunc(bccGuestRows, func(g Row) bool { return slices.Contains(g.Args, row.Args[0]) })
}

// Run runs rows on a target, each as a subtest, and keeps what came out.
func Run(t *testing.T, target Target, rows []Row) {
	if signal.Ignored(syscall.SIGINT) {
		// A shell's job in the background, whose children would ignore it too.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGINT)
	}
	r := &runner{Target: target, slots: make(chan struct{}, max(1, target.Parallel))}
	if err := r.prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.load.stop)
	for _, row := range rows {
		t.Run(row.Family+"/"+row.Name, func(t *testing.T) {
			if !row.Alone {
				t.Parallel()
				r.slots <- struct{}{}
				defer func() { <-r.slots }()
			}
			r.row(t, row)
		})
	}
}

// runner runs rows on a target.
type runner struct {
	Target
	load    *process
	fill    []string // what stands for what, as strings.NewReplacer wants it
	slots   chan struct{}
	kernel  string // its release and machine
	results []Result
}

// prepare starts the load and asks the target what the rows' words stand for.
func (r *runner) prepare() error {
	const script = `for d in /sys/block/*/device; do d=${d%/device}; break; done; echo ${d##*/}
while read -r _ dir type _; do [ $type != cgroup2 ] || echo $dir; done </proc/mounts`
	uname, err := r.command(context.Background(), []string{"uname", "-rm"}, false, Row{}).run(nil)
	if err != nil {
		return err
	}
	r.kernel = strings.TrimSpace(uname.Stdout)
	o, err := r.command(context.Background(), []string{"sh", "-c", script}, false, Row{}).run(nil)
	if err != nil {
		return err
	}
	said := append(strings.Split(o.Stdout, "\n"), "", "")
	if r.load, err = startLoad(r.Target); err != nil {
		return err
	}
	pids := strings.Fields(r.load.said)
	r.fill = []string{"{pid}", pids[0], "{shell}", pids[1], "{python}", pids[2], "{disk}", said[0], "{cgroup}", said[1], "{dir}", r.Dir}
	return nil
}

// row runs a row natively and remotely, and compares.
func (r *runner) row(t *testing.T, row Row) {
	if r.Lacks != nil {
		if why := r.Lacks(row); why != "" {
			if err := r.add(Result{Row: row.Family + "/" + row.Name, Native: notRunAt, Why: why}); err != nil {
				t.Error(err)
			}
			t.Skip(why)
		}
	}
	result, difference := r.compareRow(t, row)
	if err := r.add(result); err != nil {
		t.Error(err)
	}
	if difference != nil {
		t.Error(difference)
	}
	t.Logf("natively %s, remotely %s", result.Native, result.Remote)
}

// attempts is how often a row that looks at the whole kernel is run, when
// others change the kernel's state meanwhile.
const attempts = 20

func (r *runner) compareRow(t *testing.T, row Row) (Result, error) {
	row, pin := r.filled(row)
	r.script(t, row.Setup)
	defer func() { r.script(t, row.Cleanup+"\nrm -rf "+pin) }()
	if row.Beside != nil {
		beside, err := startProcess(r.command(context.Background(), row.Beside, false, row), ".")
		if err != nil {
			t.Fatal(err)
		}
		defer beside.stop()
	}
	if r.RemoteOnly {
		return judgeAlone(row, r.run(t, row, true))
	}
	for n := 1; ; n++ {
		native := r.run(t, row, false)
		remote := r.run(t, row, true)
		result, difference := judge(row, native, remote)
		if difference == nil || !row.Alone || n == attempts {
			return result, difference
		}
		if again := r.run(t, row, false); again == native {
			return result, difference
		}
	}
}

// filled returns a row with what the target has in the place of {words}, and
// the path that stands for {pin}.
func (r *runner) filled(row Row) (Row, string) {
	name := strings.Map(func(c rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", c) {
			return c
		}
		return '-'
	}, row.Family+"-"+row.Name)
	pin := fmt.Sprintf("/sys/fs/bpf/suite-%d-%.100s", os.Getpid(), name)
	fill := strings.NewReplacer(append(r.fill[:len(r.fill):len(r.fill)], "{pin}", pin)...)
	for _, s := range []*string{&row.Stdin, &row.Setup, &row.Cleanup, &row.After} {
		*s = fill.Replace(*s)
	}
	for _, l := range []*[]string{&row.Args, &row.Env, &row.Want, &row.Beside} {
		var filled []string
		for _, s := range *l {
			filled = append(filled, fill.Replace(s))
		}
		*l = filled
	}
	return row, pin
}

// script runs a shell script natively on the target.
func (r *runner) script(t *testing.T, script string) testenv.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), r.times(limit))
	defer cancel()
	o, err := r.command(ctx, []string{"sh", "-c", script}, false, Row{}).run(nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Status != 0 {
		t.Fatalf("%s: %s", script, o)
	}
	return o
}

// run runs a row's tool once.
func (r *runner) run(t *testing.T, row Row, remotely bool) testenv.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), r.times(limit))
	defer cancel()
	var until []string
	if row.Interrupt {
		until = row.Want
	}
	o, err := r.command(ctx, row.Args, remotely, row).run(until)
	if err != nil {
		t.Fatal(err)
	}
	if row.After != "" {
		after := r.script(t, row.After)
		o.Stdout += after.Stdout
		o.Stderr += after.Stderr
	}
	return o
}

// command returns the command that runs args natively or remotely.
func (r *runner) command(ctx context.Context, args []string, remotely bool, row Row) command {
	env := append([]string{"env", "LC_ALL=C", "PYTHONUNBUFFERED=1"}, append(r.Env, row.Env...)...)
	if row.Interrupt {
		// Line by line, so that what is wanted is seen when it happens.
		args = append([]string{"stdbuf", "-oL"}, args...)
	}
	args = append(env, args...)
	if remotely {
		args = slices.Concat([]string{r.Bpfctl, "run", "-t", r.URL}, r.Flags, row.Flags, []string{"--"}, args)
	} else {
		args = append(r.Native[:len(r.Native):len(r.Native)], args...)
	}
	return command{ctx: ctx, args: args, stdin: row.Stdin, settle: r.times(settle)}
}

// times is how long something may take on the target that takes d here.
func (r *runner) times(d time.Duration) time.Duration { return d * time.Duration(max(1, r.Slow)) }
