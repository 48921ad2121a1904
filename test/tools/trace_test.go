package tools

import (
	"strconv"
	"strings"
	"testing"
)

func numberString(v int) string { return strconv.Itoa(v) }

// shape is a tool whose output differs from run to run: both outputs must match.
type shape struct {
	name string
	args []string
	want []string // expressions that the output must match, natively and remotely
}

// interrupted runs a tool that runs until Ctrl-C; its output comes line by
// line, so that the case sees it.
func interrupted(args ...string) []string {
	return append([]string{"stdbuf", "-oL"}, args...)
}

func compareShapes(t *testing.T, cases []shape, env ...string) {
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := invocation{args: c.args, load: churn}
			if c.args[0] == "stdbuf" {
				in.until = c.want
			}
			want := in.run(t)
			in.args = remote(c.args)
			got := in.run(t)
			if want.status != got.status {
				t.Errorf("status %d natively, %d remotely: %s", want.status, got.status, got)
			}
			if err := matches(want.stdout, c.want); err != nil {
				// What fails natively must fail in the same way.
				if numbers.ReplaceAllString(want.stderr, "N") == numbers.ReplaceAllString(got.stderr, "N") && want.stderr != "" {
					t.Logf("fails natively and remotely: %.300s", want.stderr)
					return
				}
				t.Errorf("natively %v: %s\nremotely: %s", err, want, got)
				return
			}
			if err := matches(got.stdout, c.want); err != nil {
				t.Errorf("remotely %v: %s", err, got)
			}
		})
	}
}

func TestLibbpfTools(t *testing.T) {
	cases := []shape{
		{"execsnoop", interrupted("execsnoop"), []string{`^PCOMM`, `true +\d+ +\d+ +0 /bin/true`}},
		{"opensnoop", interrupted("opensnoop"), []string{`^PID`, ` /etc/hostname$`, ` 2 /nonexistent$`}},
		{"exitsnoop", interrupted("exitsnoop"), []string{`^PCOMM`, `^true `}},
		{"runqlat", []string{"runqlat", "1", "1"}, []string{`usecs`, `\|\*`}},
		{"runqlen", []string{"runqlen", "1", "1"}, []string{`runqlen`, `\|`}},
		{"softirqs", []string{"softirqs", "1", "1"}, []string{`^SOFTIRQ`, `^timer +[1-9]`}},
		{"hardirqs", []string{"hardirqs", "1", "1"}, []string{`^HARDIRQ`}},
		{"syscount", []string{"syscount", "-d", "1"}, []string{`^SYSCALL`, `^openat +[1-9]|^read +[1-9]`}},
		{"cpudist", []string{"cpudist", "1", "1"}, []string{`usecs`, `\|\*`}},
		{"offcputime", []string{"offcputime", "1"}, []string{`__schedule`, `^ +- +\S+ \(\d+\)`}},
		{"wakeuptime", []string{"wakeuptime", "1"}, []string{`waker:`}},
		{"drsnoop", interrupted("drsnoop"), []string{`COMM`}},
		{"statsnoop", interrupted("statsnoop"), []string{`^PID`}},
		{"sigsnoop", interrupted("sigsnoop"), []string{`^TIME`}},
		{"mountsnoop", interrupted("mountsnoop"), []string{`^COMM`}},
		{"numamove", interrupted("numamove"), []string{`x^`}},
		{"tcpconnect", interrupted("tcpconnect"), []string{`x^`}},
		{"vfsstat", []string{"vfsstat", "1", "1"}, []string{`^TIME`}},
		{"cachestat", []string{"cachestat", "1", "1"}, []string{`HITS`}},
		{"nosuchoption", []string{"runqlat", "--no-such-option"}, []string{`x^`}},
	}
	have := cases[:0]
	for _, c := range cases {
		tool := c.args[0]
		if tool == "stdbuf" {
			tool = c.args[2]
		}
		t.Run("have/"+tool, func(t *testing.T) {
			need(t, tool)
			have = append(have, c)
		})
	}
	compareShapes(t, have)
}

func TestBCC(t *testing.T) {
	need(t, "softirqs-bpfcc")
	tree := headers(t)
	compareShapes(t, []shape{
		{"softirqs", []string{"softirqs-bpfcc", "1", "1"}, []string{`^SOFTIRQ`, `^timer +[1-9]`}},
		{"hardirqs", []string{"hardirqs-bpfcc", "1", "1"}, []string{`^HARDIRQ`}},
		{"runqlat", []string{"runqlat-bpfcc", "1", "1"}, []string{`usecs`}},
		{"syscount", []string{"syscount-bpfcc", "-d", "2"}, []string{`^SYSCALL`, `^(openat|read) +[1-9]`}},
		{"profile", []string{"profile-bpfcc", "-F", "99", "1"}, []string{`^ +- +\S+ \(\d+\)`}},
		{"stackcount", []string{"stackcount-bpfcc", "-D", "1", "t:sched:sched_switch"}, []string{`^  schedule`, `^    [1-9]`}},
		{"argdist", []string{"argdist-bpfcc", "-n", "1", "-i", "1", "-C", "t:syscalls:sys_enter_read():u64:args->count"}, []string{`args->count`, `^\t[1-9]`}},
		{"tplist", []string{"tplist-bpfcc", "sched:sched_switch"}, []string{`^sched:sched_switch$`}},
		// Not a call that bpfctl itself makes: it would trace itself without end.
		{"trace", interrupted("trace-bpfcc", `t:sched:sched_process_exec "%d", args->pid`), []string{`^PID`, `sched_process_exec`}},
	}, "BCC_KERNEL_SOURCE="+tree)
}
