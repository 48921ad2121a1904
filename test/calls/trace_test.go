package calls

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/internal/abi"
	"bpfd/test/testenv"
)

// Every call that the program counts itself is in the trace, once: those that
// are answered without the target as well, and those that fail.
func TestTrace(t *testing.T) {
	for _, name := range []string{"walk-delete", "walk-threads", "map-batch", "prog-info", "perf-ioctl", "link"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trace")
			o := testenv.Must(t, testenv.RunEnv(t, []string{"COUNT_CALLS=1"}, bpfctl, "run", "-t", "shell:", "--trace", file, "--", program, name))
			trace, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, got := counted(t, o.Stderr), traced(t, string(trace))
			if len(want) == 0 {
				t.Fatalf("the program counted nothing: %q", o.Stderr)
			}
			for call, n := range want {
				if got[call] != n {
					t.Errorf("%s: %d calls, %d in the trace", call, n, got[call])
				}
			}
			for call, n := range got {
				if want[call] == 0 {
					t.Errorf("%s: no calls, %d in the trace", call, n)
				}
			}
		})
	}
}

// counted reads what the program says of its own calls.
func counted(t *testing.T, stderr string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for line := range strings.Lines(stderr) {
		var call string
		var n int
		if k, _ := fmt.Sscanf(line, "count %s %d", &call, &n); k != 2 {
			continue
		}
		var cmd int
		if k, _ := fmt.Sscanf(call, "%d", &cmd); k == 1 {
			call = abi.Commands[cmd].Name
		}
		counts[call] = n
	}
	return counts
}

// traced counts the calls of a trace, whose lines are "TID CALL(…) = RESULT".
func traced(t *testing.T, trace string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for line := range strings.Lines(trace) {
		_, rest, ok := strings.Cut(line, " ")
		call, args, ok2 := strings.Cut(rest, "(")
		if !ok || !ok2 || !strings.Contains(args, ") = ") {
			t.Errorf("a line that is no call: %q", line)
		}
		counts[strings.Fields(call)[0]]++
	}
	return counts
}
