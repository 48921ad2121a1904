package symbols

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

const (
	// fresh is for how long a process's mappings are believed without a look:
	// addresses come in stacks.
	fresh = 100 * time.Millisecond
	// maxProcesses and maxFiles bound what is kept.
	maxProcesses = 256
	maxFiles     = 128 << 20 // bytes
)

// process is what is known of a process.
type process struct {
	maps     string
	mappings []mapping
	read     time.Time
	compiled *perfMap  // nil if it does not tell
	looked   time.Time // for what it has compiled
}

// mapping is a line of /proc/PID/maps that can be executed.
type mapping struct {
	start, end, off uint64
	path            string
	file            *file // nil until asked for
	failed          bool  // it is no ELF file
}

// fileID tells files apart, in whatever mount namespace.
type fileID struct {
	dev, ino    uint64
	size, mtime int64
}

// User returns the function of a process at an address, its name demangled if
// that is asked for.
func (t *Table) User(pid int, addr uint64, demangled bool) (Symbol, error) {
	s, err := t.user(pid, addr, false)
	if err != nil {
		s, err = t.user(pid, addr, true)
	}
	if err == nil && demangled {
		s.Name = Demangle(s.Name)
	}
	return s, err
}

func (t *Table) user(pid int, addr uint64, again bool) (Symbol, error) {
	p, err := t.process(pid, again)
	if err != nil {
		return Symbol{}, err
	}
	err = errNoSymbol(addr)
	for i := range p.mappings {
		m := &p.mappings[i]
		if addr < m.start || addr >= m.end {
			continue
		}
		if f := t.fileOf(pid, m); f != nil {
			if at, ok := f.address(addr - m.start + m.off); ok {
				if s, ok := f.at(at); ok {
					return Symbol{Name: f.name(s), Offset: at - s.addr, Module: m.path}, nil
				}
			}
		}
		err = fmt.Errorf("in %s: %w", m.path, err)
		break
	}
	c := t.compiled(pid, p, again)
	if s, ok := c.at(addr); ok {
		return Symbol{Name: c.name(s), Offset: addr - s.addr, Module: c.path}, nil
	}
	return Symbol{}, err
}

// UserAddress returns where a function of a module is in a process. The module
// is a mapped file's path, or its last element; or that of the file in which a
// process tells what it has compiled.
func (t *Table) UserAddress(pid int, name, module string) (uint64, error) {
	addr, err := t.userAddress(pid, name, module, false)
	if err != nil {
		addr, err = t.userAddress(pid, name, module, true)
	}
	return addr, err
}

func (t *Table) userAddress(pid int, name, module string, again bool) (uint64, error) {
	p, err := t.process(pid, again)
	if err != nil {
		return 0, err
	}
	mapped := false
	for i := range p.mappings {
		m := &p.mappings[i]
		if m.path != module && lastElement(m.path) != module {
			continue
		}
		mapped = true
		f := t.fileOf(pid, m)
		if f == nil {
			continue
		}
		if s, ok := f.named(name); ok {
			if off, ok := f.offset(s.addr); ok && off >= m.off && off-m.off < m.end-m.start {
				return off - m.off + m.start, nil
			}
		}
	}
	if strings.HasPrefix(lastElement(module), "perf-") {
		if c := t.compiled(pid, p, again); c != nil && (c.path == module || lastElement(c.path) == module) {
			if s, ok := c.named(name); ok {
				return s.addr, nil
			}
			mapped = true
		}
	}
	if !mapped {
		return 0, fmt.Errorf("process %d maps no %s: %w", pid, module, unix.ENOENT)
	}
	return 0, errNoName(name)
}

func lastElement(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// process returns what is known of a process, and reads its mappings if that is
// old or again is set. A process that has ended is remembered.
func (t *Table) process(pid int, again bool) (*process, error) {
	p := t.processes[pid]
	if p != nil && !again && time.Since(p.read) < fresh {
		return p, nil
	}
	b, err := sys.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err == nil && len(b) == 0 {
		err = unix.ENOENT // a kernel thread, or a zombie
	}
	if err != nil {
		if p != nil {
			return p, nil
		}
		return nil, err
	}
	if p == nil || p.maps != string(b) {
		if len(t.processes) >= maxProcesses || t.processes == nil {
			t.processes = make(map[int]*process)
		}
		now := &process{maps: string(b), mappings: parseMaps(string(b))}
		if p != nil {
			now.compiled, now.looked = p.compiled, p.looked
		}
		p = now
		t.processes[pid] = p
	}
	p.read = time.Now()
	return p, nil
}

// parseMaps reads proc(5)'s maps.
func parseMaps(maps string) []mapping {
	var list []mapping
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.Contains(f[1], "x") {
			continue
		}
		lo, hi, _ := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseUint(lo, 16, 64)
		end, err2 := strconv.ParseUint(hi, 16, 64)
		off, err3 := strconv.ParseUint(f[2], 16, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			continue
		}
		// The path may have blanks; it follows the fifth field's.
		_, path, _ := strings.Cut(line, " "+f[4]+" ")
		path = strings.TrimSuffix(strings.TrimSpace(path), " (deleted)")
		list = append(list, mapping{start: start, end: end, off: off, path: path})
	}
	return list
}

// fileOf returns the file of a mapping, nil if it is none that can be read.
func (t *Table) fileOf(pid int, m *mapping) *file {
	if m.file == nil && !m.failed {
		m.file = t.open(pid, m)
		m.failed = m.file == nil
	}
	return m.file
}

// open reads the file of a mapping, unless it is known. The link in map_files
// is the mapped file itself, even if it has been replaced or is in another mount
// namespace; kernels before 4.3 may lack it.
func (t *Table) open(pid int, m *mapping) *file {
	proc := "/proc/" + strconv.Itoa(pid)
	if m.path == "[vdso]" {
		return vdso(proc, m)
	}
	if !strings.HasPrefix(m.path, "/") {
		return nil
	}
	fd, err := openRead(fmt.Sprintf("%s/map_files/%x-%x", proc, m.start, m.end))
	if err != nil {
		fd, err = openRead(proc + "/root" + m.path)
	}
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	id := fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano()}
	if known, ok := t.files[id]; ok {
		return known
	}
	parsed, err := parse(descriptor(fd))
	if err != nil {
		return nil
	}
	if !parsed.complete {
		parsed.addDebug(proc + "/root")
	}
	t.keep(id, parsed)
	return parsed
}

// keep remembers a file, and forgets all if that is too much.
func (t *Table) keep(id fileID, f *file) {
	size := len(f.names) + len(f.functions)*24
	if t.files == nil || t.size+size > maxFiles {
		t.files, t.size = make(map[fileID]*file), 0
	}
	t.files[id] = f
	t.size += size
}

// addDebug takes the symbols of a stripped file from where distributions put
// them, under root.
func (f *file) addDebug(root string) {
	if len(f.buildID) < 4 {
		return
	}
	fd, err := openRead(root + "/usr/lib/debug/.build-id/" + f.buildID[:2] + "/" + f.buildID[2:] + ".debug")
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if debug, err := parse(descriptor(fd)); err == nil && len(debug.functions) > 0 {
		f.functions, f.names = debug.functions, debug.names
	}
}

// vdso reads the ELF file that the kernel maps into each process.
func vdso(proc string, m *mapping) *file {
	fd, err := openRead(proc + "/mem")
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	f, err := parse(io.NewSectionReader(descriptor(fd), int64(m.start), int64(m.end-m.start)))
	if err != nil {
		return nil
	}
	return f
}

// openRead opens a file for reading; what a process has put in its place, such
// as a FIFO, does not keep us.
func openRead(path string) (int, error) {
	return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// descriptor reads a file. os.File would bring what formats its times with it.
type descriptor int

// ReadAt implements io.ReaderAt.
func (d descriptor) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Pread(int(d), b[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}
