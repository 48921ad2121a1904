package agent

import (
	"path"
	"slices"
	"strings"
	"sync"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// journal remembers what a session has made in tracefs: probes, by writing
// lines to files like kprobe_events, and instances, by mkdir. Unlike all else
// they outlive the session, so that they have to be taken back at its end.
type journal struct {
	mu        sync.Mutex // protects following, and held while events are defined
	events    []definition
	instances []string
}

// definition is an event that was defined in a file.
type definition struct{ file, event string }

// isEvents says whether a file defines events by its lines.
func isEvents(file string) bool {
	switch path.Base(file) {
	case "kprobe_events", "uprobe_events", "dynamic_events":
		return true
	}
	return false
}

// isInstance says whether a directory is a trace buffer of its own.
func isInstance(dir string) bool { return strings.HasSuffix(path.Dir(dir), "/tracing/instances") }

// defined returns the events that a file lists, as GROUP/EVENT; lines are as in
// Documentation/trace/kprobetrace.rst.
func defined(file string) []string {
	var all []string
	for line := range strings.Lines(readFile(file)) {
		def, _, _ := strings.Cut(line, " ")
		if _, event, ok := strings.Cut(strings.TrimSpace(def), ":"); ok {
			all = append(all, event)
		}
	}
	return all
}

// define calls write, which writes to file, and notes what it has defined: the
// kernel gives names to events that have none.
func (j *journal) define(file string, write func() (int, error)) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := defined(file)
	n, err := write()
	after := defined(file)
	j.events = slices.DeleteFunc(j.events, func(d definition) bool {
		return d.file == file && !slices.Contains(after, d.event)
	})
	for _, event := range after {
		if !slices.Contains(before, event) {
			j.events = append(j.events, definition{file, event})
		}
	}
	return n, err
}

// made notes a new directory, removed one that is gone.
func (j *journal) made(dir string) {
	if isInstance(dir) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.instances = append(j.instances, dir)
	}
}

func (j *journal) removed(dir string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.instances = slices.DeleteFunc(j.instances, func(d string) bool { return d == dir })
}

// undo removes what is left, newest first.
func (j *journal) undo() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, dir := range slices.Backward(j.instances) {
		unix.Rmdir(dir)
	}
	for _, d := range slices.Backward(j.events) {
		if d.remove() == unix.EBUSY {
			// Somebody has enabled it.
			writeLine(path.Dir(d.file)+"/events/"+d.event+"/enable", unix.O_WRONLY, "0\n")
			d.remove()
		}
	}
	j.instances, j.events = nil, nil
}

func (d definition) remove() error {
	return writeLine(d.file, unix.O_WRONLY|unix.O_APPEND, "-:"+d.event+"\n")
}

func writeLine(file string, flags int, line string) error {
	fd, err := unix.Open(file, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return sys.WriteFull(fd, []byte(line))
}
