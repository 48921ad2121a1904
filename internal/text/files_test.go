package text

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFiles: what is in tracefs and beside it, in the words of all dialects.
func TestFiles(t *testing.T) {
	debugfs := t.TempDir()
	tracefs := filepath.Join(debugfs, "tracing")
	for path, text := range map[string]string{
		"tracing/available_filter_functions":       "vfs_read\nvfs_write [module]\n",
		"kprobes/blacklist":                        "0xffff0000-0xffff0010\tno_probes", // without an end
		"tracing/events/enable":                    "0\n",
		"tracing/events/sched/sched_switch/format": "",
		"tracing/events/sched/sched_wakeup/format": "",
		"tracing/events/sched/filter":              "none\n",
		"tracing/events/irq/enable":                "0\n",
	} {
		path = filepath.Join(debugfs, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t)
	for command, want := range map[string][]string{
		"READ_AVAILABLE_FILTER_FUNCTIONS": {"vfs_read", "vfs_write [module]"}, "GET_AVAIL_FILTER_FUNCS": {"vfs_read", "vfs_write [module]"},
		"GET_KPROBES_BLACKLIST": {"0xffff0000-0xffff0010\tno_probes"},
	} {
		same(t, c.do("%s %s", command, tracefs), want...)
	}
	for command, want := range map[string][]string{
		"GET_TRACE_EVENTS_CATEGORIES " + tracefs: {"irq", "sched"}, "GET_TRACE_EVENTS " + tracefs + " sched": {"sched_switch", "sched_wakeup"},
		"GET_TRACE_EVENTS " + tracefs + " irq 0": {},
	} {
		got := c.do("%s", command)
		slices.Sort(got)
		same(t, got, want...)
	}
	c.finish()
}

// TestSymbols: what the four commands answer.
func TestSymbols(t *testing.T) {
	c := newClient(t)
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := strconv.Itoa(cmd.Process.Pid)
	// It may not have loaded its library yet.
	lines := c.do("GET_USYM_ADDR %s qsort libc.so.6", pid)
	for range 1000 {
		if len(lines) == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
		lines = c.do("GET_USYM_ADDR %s qsort libc.so.6", pid)
	}
	if len(lines) != 2 || lines[0] != "GET_USYM_ADDR: ret=0" {
		t.Fatalf("%q, %q", lines, c.do("LAST_ERROR"))
	}
	at, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, demangle := range []string{"0", "1"} {
		named := c.do("GET_USYM_NAME %s %d %s", pid, at+1, demangle)
		m := regexp.MustCompile(`^(\w+);1;(/.*/libc\.so\.6)$`).FindStringSubmatch(named[len(named)-1])
		if len(named) != 2 || named[0] != "GET_USYM_NAME: ret=0" || m == nil {
			t.Fatalf("%q", named)
		}
		same(t, c.do("GET_USYM_ADDR %s %s %s", pid, m[1], m[2]), lines...)
	}
	for _, line := range []string{"GET_USYM_NAME " + pid + " 1 0", "GET_USYM_NAME 2000000000 1 0", "GET_USYM_ADDR " + pid + " no_such libc.so.6",
		"GET_USYM_ADDR " + pid + " main /no/such", "GET_KSYM_ADDR no_such_function"} {
		name, _, _ := strings.Cut(line, " ")
		same(t, c.do("%s", line), name+": ret=-1")
	}
	lines = c.do("GET_KSYM_ADDR vfs_read")
	if len(lines) != 2 {
		t.Skipf("the kernel hides its addresses: %q", lines)
	}
	addr, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || lines[0] != "GET_KSYM_ADDR: ret=0" {
		t.Fatalf("%q", lines)
	}
	same(t, c.do("GET_KSYM_NAME %d", addr+4), "GET_KSYM_NAME: ret=0", "vfs_read;4;kernel")
	c.finish()
}
