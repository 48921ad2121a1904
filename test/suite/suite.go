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
//	})
//
// Native is put in front of a command that is to run on the target without
// bpfctl. It must pass on standard output, standard error, the exit status,
// SIGINT and SIGTERM, and end the command when it is ended. The tools must be
// installed there in the version that this machine has; Lacks says of a row
// why it cannot run there. BuildLoad builds what makes the load.
//
// With -results DIR, each target's outcome is kept in DIR/NAME.json, from which
// test/suite/report makes doc/tools.md.
package suite

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
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

// Row is a tool with its arguments, and what must be seen. In Args, Env, Setup,
// After and Beside, {pid} is the load's process, {dir} is Target.Dir, and {pin}
// is a directory in a BPF file system that is removed after the run.
type Row struct {
	Family string // of tools, as doc/tools.md has it
	Name   string // unique in its family
	Args   []string
	Env    []string // in addition to the target's
	Stdin  string
	// Want are expressions that lines of standard output must match. A native
	// run which does not match has failed; it must then say a known reason.
	Want    []string
	Compare Compare
	// Interrupt is for tools that never end by themselves: SIGINT when all that
	// is wanted was seen.
	Interrupt bool
	// Setup and After are shell scripts that run natively, before and after
	// the tool; what After prints is compared as well.
	Setup, After string
	// Beside is a command that runs natively while the tool does.
	Beside []string
	// Alone is for rows that look at the state of the whole kernel: nothing
	// else of the suite runs beside them, and they are run again if the kernel's
	// state was changed meanwhile.
	Alone bool
	// Fails is for rows that must fail: wrong usage, no such file.
	Fails bool
	// Remark is what users should know; it goes into doc/tools.md.
	Remark string
}

// Target is a machine on which the rows run natively and remotely.
type Target struct {
	Name     string   // a column of doc/tools.md
	URL      string   // for bpfctl run -t
	Bpfctl   string   // the program
	Native   []string // put before a command that runs on the target; nil for this machine
	Load     []string // a command, run natively, that makes the load
	Dir      string   // what BuildPrograms built, here and on the target
	Env      []string // of each tool
	Parallel int      // rows at a time; 0 for one
	// Lacks returns why a row cannot run natively on the target, or "".
	Lacks func(Row) string
}

var resultsDir = flag.String("results", "", "keep what came out in `DIR`, for doc/tools.md")

// Rows are all rows.
func Rows() []Row {
	var all []Row
	for _, rows := range [][]Row{bpftoolRows, bpftraceRows, libbpfRows, bccRows, programRows} {
		all = append(all, rows...)
	}
	return all
}

// Run runs rows on a target, each as a subtest, and keeps what came out.
func Run(t *testing.T, target Target, rows []Row) {
	load, err := startLoad(target)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{Target: target, load: load, slots: make(chan struct{}, max(1, target.Parallel))}
	t.Cleanup(func() {
		load.stop()
		if err := r.keep(); err != nil {
			t.Error(err)
		}
	})
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
	slots   chan struct{}
	mu      sync.Mutex // protects results
	results []Result
}

// row runs a row natively and remotely, and compares.
func (r *runner) row(t *testing.T, row Row) {
	if r.Lacks != nil {
		if why := r.Lacks(row); why != "" {
			r.add(Result{Row: row.Family + "/" + row.Name, Native: "not run", Why: why})
			t.Skip(why)
		}
	}
	result, difference := r.compareRow(t, row)
	r.add(result)
	if difference != nil {
		t.Error(difference)
	}
	t.Logf("natively %s, remotely %s", result.Native, result.Remote)
}

// attempts is how often a row that looks at the whole kernel is run, when
// others change the kernel's state meanwhile.
const attempts = 5

func (r *runner) compareRow(t *testing.T, row Row) (Result, error) {
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

// run runs a row once.
func (r *runner) run(t *testing.T, row Row, remotely bool) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	pin := fmt.Sprintf("/sys/fs/bpf/suite-%d-%s", os.Getpid(), strings.ReplaceAll(row.Family+"-"+row.Name, " ", "-"))
	fill := strings.NewReplacer("{pid}", r.load.said, "{dir}", r.Dir, "{pin}", pin)
	script := func(s string) Outcome {
		if s == "" {
			return Outcome{}
		}
		o, err := r.command(ctx, []string{"sh", "-c", fill.Replace(s)}, false, row).run(nil)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	defer script("rm -rf " + pin)
	if o := script(row.Setup); o.Status != 0 {
		t.Fatalf("%s: %s", row.Setup, o)
	}
	if row.Beside != nil {
		beside, err := startProcess(r.command(ctx, replaceAll(fill, row.Beside), false, row), besideReady)
		if err != nil {
			t.Fatal(err)
		}
		defer beside.stop()
	}
	var until []string
	if row.Interrupt {
		until = row.Want
	}
	o, err := r.command(ctx, replaceAll(fill, row.Args), remotely, row).run(until)
	if err != nil {
		t.Fatalf("%s: %v", row.Name, err)
	}
	after := script(row.After)
	o.Stdout += after.Stdout
	o.Stderr += after.Stderr
	return o
}

func replaceAll(fill *strings.Replacer, args []string) []string {
	filled := make([]string, len(args))
	for i, a := range args {
		filled[i] = fill.Replace(a)
	}
	return filled
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
		args = append([]string{r.Bpfctl, "run", "-t", r.URL, "--"}, args...)
	} else {
		args = append(r.Native[:len(r.Native):len(r.Native)], args...)
	}
	return command{ctx: ctx, args: args, stdin: row.Stdin}
}

// absolute makes paths of the target independent of the working directory.
func absolute(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}
