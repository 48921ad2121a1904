package suite

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"bpfd/test/testenv"
)

// reasons are why tools fail natively on kernels that lack something: what they
// say, and what a reader of doc/tools.md is told. Another failure is an error
// of the row.
var reasons = []struct{ says, means string }{
	{`its program was refused|CO-RE relocation \S+ \[\d+\] struct pt_regs`, "it reads registers of the host's processor"},
	{`failed to resolve CO-RE relocation`, "the kernel's structures are others"},
	{`no tracepoints at system calls`, "no tracepoints at system calls"},
	{`FENTRY/FEXIT program can only be attached|failed to attach: ERROR: strerror_r\(-524\)`, "no fentry"}, // ENOTSUPP
	{`failed to (add legacy|create) kprobe|kprobes/blacklist|[Ff]ailed to attach BPF program \S+ to kprobe|kprobe_events`, "no kprobe can be there"},
	{`Operation not permitted\n(.*\n)*.*(BPF program load failed|failed to load)|BPF program load failed: Operation not permitted`, "no fentry"},
	{`bpf: Failed to load program: Operation not permitted\n(.*\n)+.*attach_k(ret)?func`, "no fentry"},
	{`kfunc/kretfunc not available`, "no fentry"},
	{`failed to find kernel BTF type ID of|failed to set attach target for|is not found in vmlinux BTF`, "the kernel has no such function"},
	{`BPF program load failed: (Invalid argument|Permission denied)`, "the kernel's verifier refuses it"},
	{`attach usdt \S+ failed|[Ff]ailed to enable (USDT )?probe|USDT failed to instrument`, "the process has no such USDT probes"},
	{`we only support Intel architecture|Failed to do precondition check`, "no KVM on an Intel processor"},
	{`/virtual/main\.c:\d+:\d+: error:|Failed to compile BPF`, "does not compile with these kernel headers"},
	{`[Cc]an't find function|Failed to attach to symbol|[Cc]ould not find|could not determine address of symbol`, "the process has no such function"},
	{`Failed to resolve kernel symbol`, "the kernel has no such variable"},
	{`Struct/union of type '.*' does not contain a field named`, "the kernel's structures are others"},
	{`Include headers with missing type definitions|fatal error: '\S+' file not found`, "no kernel headers that fit"},
	{`in /proc/kallsyms`, "the kernel has no such subsystem"},
	{`required tracing events are not available|bpf_attach_raw_tracepoint \(\S+\): No such file|tracing/events/\S+: No such file|[Ff]ailed to attach BPF program \S+ to tracepoint`, "no such tracepoints"},
	{`bpf_attach_raw_tracepoint \(\S+\): Invalid argument|failed to attach to raw tracepoint '\S+': Invalid argument|doesn't have \d-th argument`, "the kernel's tracepoint has fewer arguments"},
	{`bpf_override_return`, "no error injection"},
	{`_curses\.error|Error opening terminal`, "no terminal"},
	{`scaling_cur_freq`, "no frequency scaling"},
	{`failed to init perf sampling|Failed to attach to a hardware event`, "no hardware counters"},
}

// noBlacklist is what bcc says of a kernel without a list of functions that may
// not be probed.
const noBlacklist = `No such file or directory: '/sys/kernel/debug/kprobes/blacklist'`

// numbers hides what differs from run to run, with the blanks that align it.
var numbers = regexp.MustCompile(`\s*(0x[0-9a-f]+|[0-9]+)`)

func mask(s string) string { return numbers.ReplaceAllString(s, " N") }

// causes are the lines by which bpfctl explains the failure of a tool. A target
// that is a command has blanks in its name.
var causes = regexp.MustCompile(`(?m)^bpfctl: (\S+|shell:.+): .*\n`)

// bpfctlFailed is bpfctl's status where it could not run a tool to its end.
const bpfctlFailed = 125

// judge compares two runs of a row. The error is what differs.
func judge(row Row, native, remote testenv.Outcome) (Result, error) {
	// What bpfctl says the target lacks is no word of the tool's.
	said := causes.FindString(remote.Stderr)
	remote.Stderr = causes.ReplaceAllString(remote.Stderr, "")
	result := Result{Row: row.Family + "/" + row.Name, Native: "runs", Remote: "runs", Why: row.Remark}
	if said != "" && remote.Status == bpfctlFailed {
		result.Remote = "fails"
		return result, fmt.Errorf("bpfctl failed: %s", said)
	}
	if missing := unmatched(native.Stdout, row.Want); missing != "" || row.Fails {
		why := reason(native)
		if row.Fails {
			why = firstLine(native.Stderr + native.Stdout)
		}
		result.Native, result.Remote = "fails: "+why, "fails"
		if why == "" || row.Fails && (native.Status == 0 || why == "") {
			return result, fmt.Errorf("natively nothing matches %q, for no known reason: %s\nremotely: %s", missing, native, remote)
		}
		if farther := reason(remote); native.Status == remote.Status && strings.Contains(native.Stderr+native.Stdout, noBlacklist) && farther != "" {
			// bpfctl has an empty list for targets that have none, so that
			// tools come as far as to what the target really lacks.
			result.Same, result.Why = true, "the message is not of the missing list of kprobes, but of what comes next: "+farther
			return result, nil
		}
		if !row.Fails && reason(remote) != why {
			return result, fmt.Errorf("not for the same reason\nnatively: %s\nremotely: %s", native, remote)
		}
		if native.Status != remote.Status || mask(native.Stderr) != mask(remote.Stderr) {
			return result, fmt.Errorf("natively: %s\nremotely: %s", native, remote)
		}
		result.Same = true
		return result, nil
	}
	if err := row.differ(native, remote); err != nil {
		result.Remote = "differs"
		return result, fmt.Errorf("%w\nnatively: %s\nremotely: %s", err, native, remote)
	}
	result.Same = true
	return result, nil
}

// judgeAlone judges a run on a target that has no tools to compare with. A row
// that fails must say what is wanted.
func judgeAlone(row Row, remote testenv.Outcome) (Result, error) {
	result := Result{Row: row.Family + "/" + row.Name, Native: notThere, Remote: "runs", Why: row.Remark}
	said := remote.Stdout
	if row.Fails {
		said += remote.Stderr
		result.Remote = "fails: " + cmp.Or(reason(remote), regexp.MustCompile("(?m)^.*(?:"+row.Want[0]+").*$").FindString(said))
	}
	if missing := unmatched(said, row.Want); missing != "" {
		result.Remote = "differs"
		return result, fmt.Errorf("nothing matches %q: %s", missing, remote)
	}
	result.Same = true
	return result, nil
}

// differ compares a run that was successful natively.
func (row Row) differ(native, remote testenv.Outcome) error {
	if native.Stdout == "" && native.Stderr == "" {
		return fmt.Errorf("nothing was printed, so that nothing was compared")
	}
	if row.Compare == Shape && len(row.Want) == 0 {
		return fmt.Errorf("the row does not say what is wanted")
	}
	if native.Status != remote.Status {
		return fmt.Errorf("status %d natively, %d remotely", native.Status, remote.Status)
	}
	if missing := unmatched(remote.Stdout, row.Want); missing != "" {
		return fmt.Errorf("remotely nothing matches %q", missing)
	}
	switch {
	case row.Compare == Exact && native != remote:
		return fmt.Errorf("the outputs differ: %s", firstDifference(native.Stdout+native.Stderr, remote.Stdout+remote.Stderr))
	case row.Compare == Masked && (mask(native.Stdout) != mask(remote.Stdout) || mask(native.Stderr) != mask(remote.Stderr)):
		return fmt.Errorf("the outputs differ: %s", firstDifference(mask(native.Stdout+native.Stderr), mask(remote.Stdout+remote.Stderr)))
	case row.Compare == Shape && complaints(native.Stderr) != complaints(remote.Stderr):
		return fmt.Errorf("standard error differs: %s", firstDifference(complaints(native.Stderr), complaints(remote.Stderr)))
	}
	return nil
}

// occasional are lines of standard error that come and go from run to run.
var occasional = []string{
	`^Traceback`, `^  File "`, `^    `, `^Exception ignored`, `^KeyboardInterrupt`, // Ctrl-C in a Python callback
	`\[Missed (User|Kernel) Stack\]`, `^failed to get syms`, `^Could not open`, `^missed kernel stack`, // processes that have ended
	`^Opening /proc/ N/root failed`,         // of one that has ended before it was looked at
	`Couldn't find .text section in /proc/`, // of a process that has ended meanwhile
	`[Ll]ost \S+ (events|samples)`, `^Possibly lost`, `WARNING: (\d+|N) stack traces`,
}

// complaints returns the lines of standard error that are the same each time.
func complaints(s string) string {
	var kept []string
	for _, line := range strings.Split(s, "\n") {
		if line = mask(line); line != "" && !matchesAny(line, occasional) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func matchesAny(s string, exprs []string) bool {
	for _, e := range exprs {
		if regexp.MustCompile(e).MatchString(s) {
			return true
		}
	}
	return false
}

// reason returns why a native run failed, or "" if it is not known.
func reason(o testenv.Outcome) string {
	for _, r := range reasons {
		if regexp.MustCompile("(?m)" + r.says).MatchString(o.Stderr + o.Stdout) {
			return r.means
		}
	}
	return ""
}

// limited is what bpftrace says first of all, without CAP_SYS_RESOURCE.
const limited = "couldn't set RLIMIT_MEMLOCK"

// firstLine returns the first line that says something of the row.
func firstLine(s string) string {
	for _, line := range strings.Split(s, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, limited) {
			return line
		}
	}
	return ""
}

// firstDifference returns the first lines that differ.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d: %q natively, %q remotely", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines natively, %d remotely", len(x), len(y))
}
