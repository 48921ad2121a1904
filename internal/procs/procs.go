// Package procs lists the processes of a target.
package procs

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// Remote is the connection to the target.
type Remote interface {
	Do(t wire.Type, req wire.Message, reply wire.Body) error
	Post(t wire.Type, req wire.Message) error
	NewHandle() wire.Handle
}

// Process is a process of the target.
type Process struct {
	PID, PPID int
	UID       uint32
	Name      string   // comm, at most 15 bytes
	Args      []string // none of a kernel thread
	Started   uint64   // clock ticks since boot
}

// Command is the command line, or the name in brackets if there is none.
func (p *Process) Command() string {
	if len(p.Args) == 0 {
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Args, " ")
}

// Called says whether a process goes by a name: its own, its program file's,
// or the first word of its command line.
func (p *Process) Called(name string) bool {
	return p.Name == name || len(p.Args) > 0 && (p.Args[0] == name || path.Base(p.Args[0]) == name)
}

// inFlight is how many processes are asked for at the same time.
const inFlight = 32

// List returns all processes, by pid.
func List(r Remote) ([]Process, error) {
	var dir wire.ReadDirReply
	if err := r.Do(wire.TypeReadDir, &wire.Path{Path: "/proc", Follow: true}, &dir); err != nil {
		return nil, err
	}
	if dir.Errno != 0 {
		return nil, unix.Errno(dir.Errno)
	}
	var (
		mu   sync.Mutex // protects following
		list []Process
		errs []error
	)
	var running sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for _, e := range dir.Entries {
		pid, err := strconv.Atoi(e.Name)
		if err != nil || e.Attr == nil {
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			p, ok, err := look(r, pid)
			p.UID = e.Attr.UID
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else if ok {
				list = append(list, p)
			}
		})
	}
	running.Wait()
	slices.SortFunc(list, func(a, b Process) int { return a.PID - b.PID })
	return list, errors.Join(errs...)
}

// look reads what /proc says of a process; false if it is gone.
func look(r Remote, pid int) (Process, bool, error) {
	p := Process{PID: pid}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := read(r, dir+"/stat")
	if err != nil || stat == "" || !p.parseStat(stat) {
		return p, false, err
	}
	command, err := read(r, dir+"/cmdline")
	if command = strings.TrimRight(command, "\x00"); command != "" {
		p.Args = strings.Split(command, "\x00")
	}
	return p, true, err
}

// parseStat reads a line of /proc/PID/stat, proc(5). The name is in brackets
// and may hold brackets and blanks itself.
func (p *Process) parseStat(s string) bool {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return false
	}
	p.Name = s[open+1 : end]
	f := strings.Fields(s[end+1:]) // from field 3, the state
	if len(f) < 20 {
		return false
	}
	var err1, err2 error
	p.PPID, err1 = strconv.Atoi(f[1])
	p.Started, err2 = strconv.ParseUint(f[19], 10, 64)
	return err1 == nil && err2 == nil
}

// read returns the beginning of a file, "" if the process is gone.
func read(r Remote, name string) (string, error) {
	const most = 4096
	var reply wire.OpenReply
	req := wire.Open{Result: r.NewHandle(), Flags: wire.OpenRead, Snapshot: most, Path: name}
	if err := r.Do(wire.TypeOpen, &req, &reply); err != nil {
		return "", err
	}
	if reply.Errno == 0 && !reply.EOF {
		r.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{req.Result}})
	}
	return string(reply.Bytes), nil
}
