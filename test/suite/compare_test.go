package suite

import (
	"regexp"
	"testing"

	"bpfd/test/testenv"
)

type outcome = testenv.Outcome

func TestJudge(t *testing.T) {
	table := Row{Family: "f", Name: "n", Want: []string{`^PID`, `^\d+ load$`}}
	good := outcome{Stdout: "PID COMM\n17 load\n"}
	kprobe := "libbpf: failed to add legacy kprobe event for 'vfs_read+0x0': No such file\n"
	exact, masked, fails := table, table, table
	exact.Compare, masked.Compare, fails.Fails = Exact, Masked, true
	for _, c := range []struct {
		name           string
		row            Row
		native, remote outcome
		same           bool
	}{
		{"same shape", table, good, outcome{Stdout: "PID COMM\n4 x\n5 load\n"}, true},
		{"line missing", table, good, outcome{Stdout: "PID COMM\n"}, false},
		{"nothing remotely", table, good, outcome{}, false},
		{"nothing at all", table, outcome{}, outcome{}, false},
		{"nothing wanted", Row{}, good, good, false},
		{"other status", table, good, outcome{Stdout: good.Stdout, Status: 1}, false},
		{"complaint remotely", table, good, outcome{Stdout: good.Stdout, Stderr: "oops\n"}, false},
		{"complaint that comes and goes", table, good, outcome{Stdout: good.Stdout, Stderr: "Possibly lost 3 samples\n"}, true},
		{"same bytes", exact, good, good, true},
		{"other bytes", exact, good, outcome{Stdout: "PID COMM\n18 load\n"}, false},
		{"other numbers", masked, good, outcome{Stdout: "PID COMM\n18 load\n"}, true},
		{"other words", masked, good, outcome{Stdout: "PID COMM\n17 load\nmore\n"}, false},
		{"both lack kprobes", table, outcome{Stderr: kprobe, Status: 1}, outcome{Stderr: kprobe, Status: 1}, true},
		{"remotely farther", table, outcome{Stderr: noBlacklist, Status: 1}, outcome{Stderr: "bpf: f is not found in vmlinux BTF\n", Status: 1}, true},
		{"remotely farther on standard output", table, outcome{Stdout: noBlacklist}, outcome{Stdout: "Failed to attach BPF program b'f' to kprobe b'g'\n"}, true},
		{"remotely farther, to the unknown", table, outcome{Stderr: noBlacklist, Status: 1}, outcome{Stderr: "oops\n", Status: 1}, false},
		{"remotely another reason on standard output", table, outcome{Stdout: "scaling_cur_freq\n"}, outcome{Stdout: "bpf_override_return\n"}, false},
		{"remotely with another status", table, outcome{Stderr: kprobe, Status: 1}, outcome{Stderr: kprobe, Status: 2}, false},
		{"remotely without the message", table, outcome{Stderr: kprobe, Status: 1}, outcome{Status: 1}, false},
		{"both for no known reason", table, outcome{Stderr: "oops\n", Status: 1}, outcome{Stderr: "oops\n", Status: 1}, false},
		{"both must fail", fails, outcome{Stderr: "oops\n", Status: 1}, outcome{Stderr: "oops\n", Status: 1}, true},
		{"neither fails", fails, good, good, false},
		{"one must fail", fails, outcome{Stderr: "oops\n", Status: 1}, good, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, err := judge(c.row, c.native, c.remote)
			if result.Same != c.same || (err == nil) != c.same {
				t.Errorf("same: %v, %v", result.Same, err)
			}
		})
	}
}

func TestJudgeAlone(t *testing.T) {
	row := Row{Family: "f", Name: "n", Want: []string{`^cat -1 2 /nonexistent$`}}
	refused := Row{Family: "f", Name: "n", Fails: true, Want: []string{`^no such symbol$`}}
	for _, c := range []struct {
		name   string
		row    Row
		remote outcome
		same   bool
	}{
		{"as the load did", row, outcome{Stdout: "cat -1 2 /nonexistent\n"}, true},
		{"another result", row, outcome{Stdout: "cat 3 0 /nonexistent\n"}, false},
		{"only on standard error", row, outcome{Stderr: "cat -1 2 /nonexistent\n"}, false},
		{"nothing", row, outcome{}, false},
		{"fails as it must", refused, outcome{Stderr: "no such symbol\n", Status: 1}, true},
		{"fails otherwise", refused, outcome{Stderr: "no such file\n", Status: 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, err := judgeAlone(c.row, c.remote)
			if result.Same != c.same || (err == nil) != c.same {
				t.Errorf("same: %v, %v", result.Same, err)
			}
		})
	}
}

// Expressions are compiled when they are needed; here all are.
func TestExpressions(t *testing.T) {
	for _, row := range allRows() {
		for _, e := range row.Want {
			if _, err := regexp.Compile(e); err != nil {
				t.Errorf("%s/%s: %v", row.Family, row.Name, err)
			}
		}
	}
	for _, r := range reasons {
		regexp.MustCompile(r.says)
	}
}
