package loader

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const errInval = unix.EINVAL

// scanners is how many processes are looked at at once: on a long link each
// look waits for the target.
const scanners = 32

// holders finds the processes that have descriptors of BPF objects. Processes
// that may not be looked into are left out, as is this one.
func holders() map[Ref][]Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	pids := make(chan int)
	found := make(map[Ref][]Process)
	var mu sync.Mutex // protects found
	var running sync.WaitGroup
	for range scanners {
		running.Go(func() {
			for pid := range pids {
				refs := descriptors(pid)
				if len(refs) == 0 {
					continue
				}
				p := Process{PID: pid, Name: comm(pid)}
				mu.Lock()
				for _, r := range refs {
					found[r] = append(found[r], p)
				}
				mu.Unlock()
			}
		})
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			pids <- pid
		}
	}
	close(pids)
	running.Wait()
	for _, list := range found {
		sortProcesses(list)
	}
	return found
}

func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

// fdinfoFields are the lines of /proc/PID/fdinfo/N that name an object.
var fdinfoFields = map[string]Kind{"prog_id": KindProgram, "map_id": KindMap, "link_id": KindLink}

// descriptors returns the objects of which a process has descriptors.
func descriptors(pid int) []Ref {
	dir := fmt.Sprintf("/proc/%d/", pid)
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		return nil
	}
	var list []Ref
	for _, fd := range fds {
		name, err := os.Readlink(dir + "fd/" + fd.Name())
		if err != nil || !strings.HasPrefix(name, "anon_inode:bpf") {
			continue
		}
		b, err := os.ReadFile(dir + "fdinfo/" + fd.Name())
		if err != nil {
			continue
		}
		if r, ok := identity(name, string(b)); ok && !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
}

// identity reads fdinfo. A link's names its program as well.
func identity(name, fdinfo string) (Ref, bool) {
	for line := range strings.Lines(fdinfo) {
		key, value, _ := strings.Cut(line, ":")
		kind := fdinfoFields[key]
		if kind == "" || strings.Contains(name, "link") != (kind == KindLink) {
			continue
		}
		if id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil {
			return Ref{kind, uint32(id)}, true
		}
	}
	return Ref{}, false
}
