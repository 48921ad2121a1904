package main

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bpfd/internal/doctor"
	"bpfd/internal/kernel"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// missed collects what a tool looked for and did not find on the target. If
// the tool fails, that is likely why.
type missed struct {
	byPath map[string]doctor.Need
	pids   map[string]string // those among the tool's arguments, by their path

	mu       sync.Mutex // protects following
	order    []doctor.Need
	seen     map[doctor.Need]bool
	gone     string // the last of pids that was no process
	function string // the last that the kernel does not have
}

// newMissed returns what collects for a tool with these arguments.
func newMissed(args []string) *missed {
	m := &missed{byPath: make(map[string]doctor.Need), pids: make(map[string]string), seen: make(map[doctor.Need]bool)}
	for _, arg := range args[1:] {
		if isPID(arg) {
			m.pids["/proc/"+arg] = arg
		}
	}
	for need, paths := range doctor.Files {
		for _, path := range paths {
			m.byPath[path] = need
		}
	}
	// A kernel that was built without BTF lacks the directory as well, and a
	// path is looked up from its beginning.
	m.byPath[path.Dir(kernel.BTFPath)] = doctor.BTF
	return m
}

// note is told of a file that is not there.
func (m *missed) note(path string) {
	if pid, ok := m.pids[path]; ok {
		m.mu.Lock()
		m.gone = pid
		m.mu.Unlock()
		return
	}
	need, ok := m.byPath[path]
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.seen[need] {
		m.seen[need] = true
		m.order = append(m.order, need)
	}
}

// noteFunction is told of a function that a kprobe cannot be at: of several, a
// tool that needs them all ends at the last.
func (m *missed) noteFunction(name string) {
	m.mu.Lock()
	m.function = name
	m.mu.Unlock()
}

// explain says what the target lacks, if the tool failed by itself.
func (m *missed) explain(c *connection, status int) {
	const first, last = 125, 128 + 64 // our own failures, and signals
	if status >= first && status <= last {
		return
	}
	for _, need := range m.order {
		if c.lacks(need) {
			failure(errTarget(c.target, errLacks(need)))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.function != "" {
		failure(errTarget(c.target, errNoFunction(m.function)))
	}
	if m.gone != "" {
		failure(errTarget(c.target, errNoPID(m.gone)))
	}
}

func isPID(s string) bool {
	pid, err := strconv.Atoi(s)
	return err == nil && pid > 0 && !strings.HasPrefix(s, "+")
}

// pidFlags are options by which BPF tools take a process of the target, and
// otherFlags are tools in which one of them is something else.
var (
	pidFlags   = []string{"-p", "--pid"}
	otherFlags = map[string]bool{"tcprtt": true, "tcprtt-bpfcc": true} // -p is a port
)

// pidsIn returns the pids that options in a tool's command line give.
func pidsIn(args []string) []string {
	if otherFlags[filepath.Base(args[0])] {
		return nil
	}
	var pids []string
	for i, arg := range args[1:] {
		name, value, given := strings.Cut(arg, "=")
		switch {
		case slices.Contains(pidFlags, arg) && i+2 < len(args):
			value = args[i+2]
		case given && slices.Contains(pidFlags, name):
		case strings.HasPrefix(arg, "-p"):
			value = arg[len("-p"):]
		default:
			continue
		}
		for pid := range strings.SplitSeq(value, ",") {
			if isPID(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// checkPIDs warns of processes that a tool is to look at and the target does
// not have: many tools say nothing of it, and nothing else either. What was
// said is not said again.
func (m *missed) checkPIDs(c *connection, args []string) {
	for _, pid := range pidsIn(args) {
		var reply wire.StatReply
		if c.client.Do(wire.TypeStat, &wire.Path{Path: "/proc/" + pid}, &reply) == nil && unix.Errno(reply.Errno) == unix.ENOENT {
			warn(errTarget(c.target, errNoPID(pid)).Error())
			delete(m.pids, "/proc/"+pid)
		}
	}
}

// lacks says whether a target has none of the files of a need: a tool may have
// looked for one of them and found another.
func (c *connection) lacks(need doctor.Need) bool {
	for _, path := range doctor.Files[need] {
		var reply wire.StatReply
		if c.client.Do(wire.TypeStat, &wire.Path{Path: path, Follow: true}, &reply) != nil || reply.Errno == 0 {
			return false
		}
	}
	return true
}
