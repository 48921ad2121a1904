package symbols

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// perfMap is the file in which a process that compiles at run time says what it
// has compiled, a function a line: tools/perf/Documentation/jit-interface.txt.
type perfMap struct {
	path      string // as the process knows it
	dev, ino  uint64
	mtime     int64
	text      []byte // up to the last end of a line
	functions []symbol
}

const (
	maxPerfMap = 64 << 20 // bytes of a file; what follows is not known
	tailSize   = 64       // bytes that are the same if a file has only grown
)

// compiled returns what a process has compiled, nil if it does not tell. Like
// mappings it is believed for a while.
func (t *Table) compiled(pid int, p *process, again bool) *perfMap {
	if !again && time.Since(p.looked) < fresh {
		return p.compiled
	}
	p.looked = time.Now()
	fd, path, err := openPerfMap(pid)
	if err == unix.ESRCH {
		return p.compiled // it has ended
	}
	if err != nil {
		p.compiled = nil
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return p.compiled
	}
	m := p.compiled
	if m == nil || !m.grown(fd, &st) {
		m = &perfMap{path: path, dev: uint64(st.Dev), ino: st.Ino}
	}
	if len(m.text) == 0 || m.mtime != st.Mtim.Nano() || int64(len(m.text)) != st.Size {
		m.read(fd)
		m.mtime = st.Mtim.Nano()
	}
	p.compiled = m
	t.forgetCompiled(p)
	return m
}

// forgetCompiled bounds what is kept, but for what p has.
func (t *Table) forgetCompiled(p *process) {
	size := 0
	for _, q := range t.processes {
		if q.compiled != nil {
			size += len(q.compiled.text) + 24*len(q.compiled.functions)
		}
	}
	if size <= maxFiles {
		return
	}
	for _, q := range t.processes {
		if q != p {
			q.compiled = nil
		}
	}
}

// openPerfMap opens a process's perf-PID.map: the number is that which it has
// in its own PID namespace, and /tmp its own. A process in a container may have
// been written about from outside. ESRCH means that there is no such process.
func openPerfMap(pid int) (fd int, path string, err error) {
	proc := "/proc/" + strconv.Itoa(pid)
	status, err := sys.ReadFile(proc + "/status")
	if state := statusField(status, "State:"); err != nil || len(state) > 0 && state[0] == "Z" {
		return -1, "", unix.ESRCH
	}
	inner := strconv.Itoa(pid)
	if ids := statusField(status, "NStgid:"); len(ids) > 0 { // since Linux 4.1
		inner = ids[len(ids)-1]
	}
	owners := append(statusField(status, "Uid:"), "0")
	path = "/tmp/perf-" + inner + ".map"
	if fd, err = openOwned(proc+"/root"+path, owners); err == nil {
		return fd, path, nil
	}
	path = fmt.Sprintf("/tmp/perf-%d.map", pid)
	fd, err = openOwned(path, owners)
	return fd, path, err
}

// statusField returns the words of a line of proc(5)'s status.
func statusField(status []byte, name string) []string {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// openOwned opens a file of one of some users. Everybody may write to /tmp: what
// others than the process and root say of it does not count.
func openOwned(path string, owners []string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG ||
		!slices.Contains(owners, strconv.FormatUint(uint64(st.Uid), 10)) {
		unix.Close(fd)
		return -1, unix.EACCES
	}
	return fd, nil
}

// grown says whether a file is what was read before, or that and more.
func (m *perfMap) grown(fd int, st *unix.Stat_t) bool {
	if m.dev != uint64(st.Dev) || m.ino != st.Ino || st.Size < int64(len(m.text)) {
		return false
	}
	tail := m.text[max(len(m.text)-tailSize, 0):]
	b := make([]byte, len(tail))
	_, err := descriptor(fd).ReadAt(b, int64(len(m.text)-len(tail)))
	return err == nil && bytes.Equal(b, tail)
}

// read adds the lines that a file has more than before.
func (m *perfMap) read(fd int) {
	from := len(m.text)
	var b bytes.Buffer
	b.ReadFrom(io.NewSectionReader(descriptor(fd), int64(from), int64(maxPerfMap-from)))
	m.text = append(m.text, b.Bytes()[:bytes.LastIndexByte(b.Bytes(), '\n')+1]...)
	for pos := from; pos < len(m.text); {
		n := bytes.IndexByte(m.text[pos:], '\n')
		if s, ok := parsePerf(m.text[pos:pos+n], pos); ok {
			m.functions = append(m.functions, s)
		}
		pos += n + 1
	}
	sortSymbols(m.functions)
}

// parsePerf reads "START SIZE name", which begins at pos; the numbers are
// hexadecimal, and the name may have blanks.
func parsePerf(line []byte, pos int) (symbol, bool) {
	start, rest, _ := bytes.Cut(line, []byte(" "))
	size, name, _ := bytes.Cut(rest, []byte(" "))
	addr, ok1 := parseHex(bytes.TrimPrefix(bytes.ToLower(start), []byte("0x")))
	length, ok2 := parseHex(bytes.TrimPrefix(bytes.ToLower(size), []byte("0x")))
	return symbol{addr: addr, size: length, name: uint32(pos + len(line) - len(name))}, ok1 && ok2 && len(name) > 0
}

// at finds the function at an address. Memory is used again: of several that
// have been there the last counts.
func (m *perfMap) at(addr uint64) (found symbol, ok bool) {
	if m == nil {
		return symbol{}, false
	}
	last, _ := slices.BinarySearchFunc(m.functions, addr, func(s symbol, a uint64) int {
		if s.addr <= a {
			return -1
		}
		return 1
	})
	for i := last - 1; i >= 0 && i >= last-4*nested; i-- {
		if s := m.functions[i]; addr-s.addr < s.size && (!ok || s.name > found.name) {
			found, ok = s, true
		}
	}
	return found, ok
}

// named finds the last function that was compiled under a name.
func (m *perfMap) named(name string) (found symbol, ok bool) {
	for _, s := range m.functions {
		if m.name(s) == name && (!ok || s.name > found.name) {
			found, ok = s, true
		}
	}
	return found, ok
}

func (m *perfMap) name(s symbol) string {
	b, _, _ := bytes.Cut(m.text[s.name:], []byte("\n"))
	return string(bytes.TrimSuffix(b, []byte("\r")))
}
