package text

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// tracefs returns where tracefs is.
func tracefs() string {
	const old = "/sys/kernel/debug/tracing"
	if unix.Access("/sys/kernel/tracing/events", unix.F_OK) != nil && unix.Access(old+"/events", unix.F_OK) == nil {
		return old
	}
	return "/sys/kernel/tracing"
}

// readLine returns the first line of a short file, "" if it cannot be read.
func readLine(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var b [256]byte
	n, _ := unix.Read(fd, b[:])
	line, _, _ := strings.Cut(string(b[:max(n, 0)]), "\n")
	return line
}

// possibleCPUs returns how many CPUs there may ever be: per-CPU values have as
// many parts.
var possibleCPUs = sync.OnceValue(func() int {
	list := readLine("/sys/devices/system/cpu/possible")
	last := list[strings.LastIndexAny(list, "-,")+1:]
	n, err := strconv.Atoi(last)
	if err != nil {
		return runtime.NumCPU()
	}
	return n + 1
})

// file answers what a file holds.
func (s *session) file(path string) {
	// A client names part of the path: a FIFO must not keep us.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		s.openFailed(path, err)
		return
	}
	defer unix.Close(fd)
	r := sys.NewReader(fd)
	buf := make([]byte, chunk)
	any, last := false, byte('\n')
	for s.out.err == nil {
		n, err := r.Read(buf)
		if n > 0 {
			s.out.b = append(s.out.b, buf[:n]...)
			s.out.room()
			any, last = true, buf[n-1]
			continue
		}
		if !any && err != io.EOF {
			s.openFailed(path, err)
			return
		}
		break
	}
	if last != '\n' {
		s.out.line("\n")
	}
}

func (s *session) openFailed(path string, err error) {
	s.last.keep(fmt.Errorf("%s: %w", path, err))
	s.out.line(OpenFailed)
	s.out.line(NotRecognized)
}

func filterFunctions(s *session, a *args) { s.file(a.string(0) + "/available_filter_functions") }
func kallsyms(s *session, _ *args)        { s.file("/proc/kallsyms") }
func blacklist(s *session, a *args)       { s.file(a.string(0) + "/../kprobes/blacklist") }
func commForPid(s *session, a *args)      { s.file("/proc/" + strconv.Itoa(a.int(0)) + "/comm") }
func categories(s *session, a *args)      { s.directories(a.string(0) + "/events") }
func events(s *session, a *args)          { s.directories(a.string(0) + "/events/" + a.string(1)) }

// directories answers the names of a directory's directories.
func (s *session) directories(path string) {
	names, err := directories(path)
	if err != nil {
		s.last.keep(fmt.Errorf("%s: %w", path, err))
		s.out.line(NotRecognized)
		return
	}
	for _, name := range names {
		s.out.line(name + "\n")
		s.out.room()
	}
}

func directories(path string) ([]string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, chunk)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		var st unix.Stat_t
		return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR
	}), nil
}
