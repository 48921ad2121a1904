// Package tracee reads and writes the memory and the descriptors of the tool's
// threads.
package tracee

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Thread is a thread of the tool, by its id in our pid namespace.
type Thread int

// ReadAt reads the thread's memory, all of p or EFAULT.
func (t Thread) ReadAt(addr uint64, p []byte) error {
	return t.move(readv, addr, p)
}

// WriteAt writes the thread's memory, all of p or EFAULT.
func (t Thread) WriteAt(addr uint64, p []byte) error {
	return t.move(writev, addr, p)
}

// ReadBoth is ReadAt, and on the way reads other at a second address, where it
// may be that nothing can be read: both says whether it could. An empty other is
// not read.
func (t Thread) ReadBoth(addr uint64, p []byte, second uint64, other []byte) (both bool, err error) {
	if len(p) == 0 || len(other) == 0 {
		return false, t.ReadAt(addr, p)
	}
	n, e := readBoth(int(t), addr, p, second, other)
	if e != 0 {
		return false, e
	}
	if n < len(p) {
		return false, unix.EFAULT
	}
	return n == len(p)+len(other), nil
}

func (t Thread) move(f func(int, uint64, []byte) (int, unix.Errno), addr uint64, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, e := f(int(t), addr, p)
	if e != 0 {
		return e
	}
	if n != len(p) {
		return unix.EFAULT
	}
	return nil
}

// maxString is PATH_MAX.
const maxString = 4096

// String reads a NUL-terminated string. Of one that is longer than PATH_MAX it
// returns the first PATH_MAX bytes, and ENAMETOOLONG.
func (t Thread) String(addr uint64) (string, error) {
	var b []byte
	for len(b) < maxString {
		// Up to the end of a page: the next one may not be there.
		chunk := make([]byte, min(256, 4096-int((addr+uint64(len(b)))%4096)))
		if err := t.ReadAt(addr+uint64(len(b)), chunk); err != nil {
			return "", err
		}
		if i := bytes.IndexByte(chunk, 0); i >= 0 {
			return string(append(b, chunk[:i]...)), nil
		}
		b = append(b, chunk...)
	}
	return string(b[:maxString]), unix.ENAMETOOLONG
}

// Identity names an open file's inode.
type Identity struct{ Dev, Ino uint64 }

// Descriptor says what the thread's descriptor fd refers to.
func (t Thread) Descriptor(fd int) (Identity, error) {
	var b [48]byte
	path := append(t.appendFDs(b[:0]), '/')
	path = strconv.AppendInt(path, int64(fd), 10)
	return identify(unix.AT_FDCWD, append(path, 0))
}

// appendFDs appends the path of the directory that lists the thread's
// descriptors.
func (t Thread) appendFDs(b []byte) []byte {
	b = append(b, "/proc/"...)
	b = strconv.AppendInt(b, int64(t), 10)
	return append(b, "/fd"...)
}

// Identify says what file a path leads to.
func Identify(path string) (Identity, error) {
	return identify(unix.AT_FDCWD, append([]byte(path), 0))
}

// CloseOnExec says whether a descriptor of the thread's has FD_CLOEXEC set.
func (t Thread) CloseOnExec(fd int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", int(t), fd))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "flags:"); ok { // proc_pid_fdinfo(5)
			flags, err := strconv.ParseUint(strings.TrimSpace(v), 8, 64)
			return err == nil && flags&unix.O_CLOEXEC != 0
		}
	}
	return true
}

// Link returns what a magic link of the thread's directory in /proc says.
func (t Thread) Link(name string) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/%s", int(t), name))
}

// Read returns a file of the thread's directory in /proc.
func (t Thread) Read(name string) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/%s", int(t), name))
}

// Process returns the thread group that the thread belongs to, and both ids as
// the tool sees them, in its own pid namespace.
func (t Thread) Process() (tgid, innerTgid, innerTid int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", int(t)))
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		last, _ := strconv.Atoi(f[len(f)-1])
		switch f[0] {
		case "Tgid:":
			tgid = last
		case "NStgid:":
			innerTgid = last
		case "NSpid:":
			innerTid = last
		}
	}
	return tgid, innerTgid, innerTid, nil
}

// Dup copies a descriptor of the thread's process into ours.
func (t Thread) Dup(fd int) (int, error) {
	tgid, _, _, err := t.Process()
	if err != nil {
		return -1, err
	}
	pidfd, err := unix.PidfdOpen(tgid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// Poke writes memory that the thread itself may not: its code.
func (t Thread) Poke(addr uint64, p []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", int(t)), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(p, int64(addr))
	return err
}

// Address returns where offset off of the thread's program file is mapped as code.
func (t Thread) Address(off uint64) (uint64, error) {
	exe, err := t.Link("exe")
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", int(t)))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		m, ok := parseMapping(line)
		if ok && m.path == exe && strings.Contains(m.perms, "x") && off >= m.pgoff && off < m.pgoff+m.end-m.start {
			return m.start + off - m.pgoff, nil
		}
	}
	return 0, fmt.Errorf("offset %#x of %s is not mapped: %w", off, exe, unix.ENOENT)
}

// mapping is a line of /proc/PID/maps, proc_pid_maps(5).
type mapping struct {
	start, end, pgoff uint64
	perms             string
	id                Identity
	path              string
}

func parseMapping(line string) (m mapping, ok bool) {
	var major, minor uint32
	n, _ := fmt.Sscanf(line, "%x-%x %s %x %x:%x %d %s", &m.start, &m.end, &m.perms, &m.pgoff, &major, &minor, &m.id.Ino, &m.path)
	m.id.Dev = unix.Mkdev(major, minor)
	return m, n == 8
}

// MapsForWriting says whether the thread's process has mapped one of some files
// so that it can write to it. If that cannot be seen, it has.
func (t Thread) MapsForWriting(files map[Identity]bool) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", int(t)))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(b)) {
		if m, ok := parseMapping(line); ok && files[m.id] && strings.Contains(m.perms, "w") {
			return true
		}
	}
	return false
}
