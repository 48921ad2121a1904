package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Result is what came out of a row on a target.
type Result struct {
	Row    string // family/name
	Native string // "runs", "fails: why", "not run" or notThere
	Remote string
	Same   bool
	Why    string // why not, or what to know
}

// notThere is the native result where a target has no tools.
const notThere = "not there"

// notRunAt is the Native of a row that was not run on a target, elsewhere that of
// one whose tool has rows for guests.
const (
	notRunAt  = "not run"
	elsewhere = "in a guest, below"
)

// outcomeOf is what a target's file holds.
type outcomeOf struct {
	Target  string
	Kernel  string
	Results []Result
}

// keeping protects the results of all runners, of which several may have one
// target's name, and the files they are kept in.
var keeping sync.Mutex

// add keeps a result at once: a run that is cut short has told something.
func (r *runner) add(result Result) error {
	keeping.Lock()
	defer keeping.Unlock()
	r.results = append(r.results, result)
	return r.keep()
}

// keep writes the results for the report, with keeping held. Those of rows that
// were not run stay as they were.
func (r *runner) keep() error {
	if *resultsDir == "" {
		return nil
	}
	file := filepath.Join(*resultsDir, r.Name+".json")
	o, err := readResults(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	o.Target, o.Kernel = r.Name, r.kernel
	all := slices.Clone(r.results)
	for _, old := range o.Results {
		if !slices.ContainsFunc(r.results, func(new Result) bool { return new.Row == old.Row }) {
			all = append(all, old)
		}
	}
	o.Results = all
	b, err := json.MarshalIndent(o, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o666)
}

func readResults(file string) (o outcomeOf, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("%s: %w", file, err)
	}
	return o, nil
}

// Report writes doc/tools.md from the results of all targets in a directory.
func Report(w io.Writer, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no results", dir)
	}
	var targets []outcomeOf
	for _, file := range files {
		o, err := readResults(file)
		if err != nil {
			return err
		}
		targets = append(targets, o)
	}
	// The target that needs no virtual machine comes first.
	slices.SortStableFunc(targets, func(a, b outcomeOf) int {
		return strings.Compare(order(a.Target), order(b.Target))
	})
	writeReport(w, targets)
	return nil
}

func order(target string) string {
	if target == "shell" {
		return ""
	}
	return target
}

func writeReport(w io.Writer, targets []outcomeOf) {
	fmt.Fprint(w, `# Tools

`+"`make tools-report`"+` writes this file: each row runs natively and through `+"`bpfctl run`"+`, on the same load, and what
comes out is compared: all bytes, or all bytes but numbers, where that is the same each time; otherwise lines that must be
there. *same* also means that a tool which fails natively fails remotely with the same message and status. Targets in which
there are no tools have one column: what is printed must be what is known of their load. A test checks that each program of
Debian's packages bpfcc-tools, bpftrace, libbpf-tools and bpftool has a row.

`)
	for _, t := range targets {
		fmt.Fprintf(w, "- **%s**, Linux %s: %s\n", t.Target, t.Kernel, summary(t.Results))
	}
	family, shown := "", targets
	for _, row := range allRows() {
		if row.Family != family {
			family, shown = row.Family, thoseWith(targets, row.Family)
			writeHead(w, family, shown)
		}
		fmt.Fprintf(w, "| %s | %s |", row.title(), row.Compare)
		for _, t := range shown {
			r := resultOf(t.Results, row)
			if t.remoteOnly() {
				fmt.Fprintf(w, " %s |", cell(r.alone()))
			} else {
				fmt.Fprintf(w, " %s | %s | %s |", cell(r.Native), cell(r.Remote), cell(r.verdict()))
			}
		}
		fmt.Fprintln(w)
	}
}

// writeHead begins the table of a family. A target that has no tools has one
// column.
func writeHead(w io.Writer, family string, targets []outcomeOf) {
	fmt.Fprintf(w, "\n## %s\n\n| tool | compared |", family)
	columns := 2
	for _, t := range targets {
		if t.remoteOnly() {
			fmt.Fprintf(w, " %s, from here |", t.Target)
			columns++
		} else {
			fmt.Fprintf(w, " %s natively | remotely | same? |", t.Target)
			columns += 3
		}
	}
	fmt.Fprint(w, "\n|", strings.Repeat("---|", columns), "\n")
}

// remoteOnly returns whether a target has no tools to compare with.
func (o outcomeOf) remoteOnly() bool {
	return !slices.ContainsFunc(o.Results, func(r Result) bool { return r.Native != notThere && r.Native != notRunAt })
}

// thoseWith are the targets on which rows of a family were run.
func thoseWith(targets []outcomeOf, family string) []outcomeOf {
	return slices.DeleteFunc(slices.Clone(targets), func(o outcomeOf) bool {
		return !slices.ContainsFunc(o.Results, func(r Result) bool { return strings.HasPrefix(r.Row, family+"/") })
	})
}

// summary counts programs and rows, of those that the suite still has.
func summary(results []Result) string {
	var runs, fails, sameRuns, sameFails, absent, shows, lacks, notRun int
	programs, sound := make(map[string]bool), make(map[string]bool)
	for _, row := range allRows() {
		switch r := resultOf(results, row); {
		case r.Native == notRunAt:
			if with := thoseWith([]outcomeOf{{Results: results}}, row.Family); len(with) > 0 {
				notRun++
			}
		case r.Native == elsewhere:
		case r.Native == notThere:
			absent++
			shows += oneIf(r.Same && r.Remote == "runs")
			lacks += oneIf(r.Same && r.Remote != "runs")
		case r.Native == "runs":
			runs++
			program := row.program()
			if !programs[program] {
				programs[program], sound[program] = true, true
			}
			sound[program] = sound[program] && r.Same
			sameRuns += oneIf(r.Same)
		default:
			fails++
			sameFails += oneIf(r.Same)
		}
	}
	ok := 0
	for _, same := range sound {
		ok += oneIf(same)
	}
	var parts []string
	if runs+fails > 0 {
		parts = append(parts, fmt.Sprintf("%d of the %d programs that run natively run remotely, in %d of %d rows; %d of %d rows that fail natively fail the same remotely",
			ok, len(programs), sameRuns, runs, sameFails, fails))
	}
	if absent > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d rows show what the target's load does, and %d fail, saying what its kernel lacks; there are no tools in it", shows, absent, lacks))
	}
	if notRun > 0 {
		parts = append(parts, fmt.Sprintf("%d rows were not run", notRun))
	}
	return strings.Join(parts, "; ")
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// program is the program that a row runs.
func (row Row) program() string {
	if name := filepath.Base(row.Args[0]); name != "sh" && name != "deny" {
		return row.Family + "/" + name
	}
	return row.Family + "/" + row.Family // scripts around the family's one program
}

func resultOf(results []Result, row Row) Result {
	for _, r := range results {
		if r.Row == row.Family+"/"+row.Name {
			return r
		}
	}
	if row.Family == bccRows[0].Family && row.hasGuestRow() && len(thoseWith([]outcomeOf{{Results: results}}, bccInGuest)) > 0 {
		return Result{Native: elsewhere}
	}
	return Result{Native: notRunAt}
}

func (r Result) verdict() string {
	switch {
	case r.Native == notRunAt, r.Native == elsewhere:
		return r.Why
	case r.Same && r.Why != "":
		return "same; " + r.Why
	case r.Same:
		return "same"
	}
	return "**no**; " + r.Why
}

// alone is what is said of a row on a target that has no tools.
func (r Result) alone() string {
	said := "shows what the load does"
	switch {
	case r.Native == notRunAt:
		said = notRunAt
	case !r.Same:
		said = "**no**"
	case r.Remote != "runs":
		said = r.Remote
	}
	return strings.TrimSuffix(said+"; "+r.Why, "; ")
}

func (c Compare) String() string {
	return [...]string{Shape: "lines", Exact: "bytes", Masked: "all but numbers"}[c]
}

// title is how a row is named in the report: its command, if it is short.
func (row Row) title() string {
	command := strings.NewReplacer("{dir}/", "", "{pin}/", "", "{pid}", "PID", "{shell}", "PID", "{python}", "PID", "{disk}", "DISK").Replace(strings.Join(row.Args, " "))
	if len(command) > 60 || row.Args[0] == "sh" || row.Args[0] == "timeout" {
		command = row.Name
	}
	return "`" + cell(strings.NewReplacer("{dir}/", "", "{pin}/", "").Replace(command)) + "`"
}

func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}
