package agent

import (
	"strings"
	"sync"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// journal remembers the probes that a session has defined by writing lines to
// kprobe_events and uprobe_events of tracefs: they outlive the descriptor, so
// that they have to be taken back when the session ends.
type journal struct {
	mu    sync.Mutex // protects following
	lines []definition
}

// definition is an event that was defined in a file.
type definition struct{ file, event string }

// isEvents says whether a file defines events by its lines.
func isEvents(path string) bool {
	return strings.HasSuffix(path, "/kprobe_events") || strings.HasSuffix(path, "/uprobe_events")
}

// note reads what was written to file. Lines are as in
// Documentation/trace/kprobetrace.rst: p[:[GRP/]EVENT] …, -:[GRP/]EVENT.
func (j *journal) note(file string, written []byte) {
	if !isEvents(file) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(string(written)) {
		kind, event, named := strings.Cut(strings.Fields(line + " .")[0], ":")
		switch {
		case !named || kind == "":
		case kind == "-":
			j.forget(definition{file, event})
		default:
			j.lines = append(j.lines, definition{file, event})
		}
	}
}

func (j *journal) forget(d definition) {
	for i, l := range j.lines {
		if l == d {
			j.lines = append(j.lines[:i], j.lines[i+1:]...)
			return
		}
	}
}

// undo removes what is left, newest first.
func (j *journal) undo() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := len(j.lines) - 1; i >= 0; i-- {
		d := j.lines[i]
		fd, err := unix.Open(d.file, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		sys.WriteFull(fd, []byte("-:"+d.event+"\n"))
		unix.Close(fd)
	}
	j.lines = nil
}
