package supervisor

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// A uprobe's offset comes from the symbols of a file on this host, and is put
// on the file of the same path on the target. Unless the two are the same
// program, it would break into the middle of an instruction there.

// programs remembers which files were compared.
type programs struct {
	mu   sync.Mutex // held during a comparison
	same map[string]unix.Errno
}

// probed says whether a uprobe may be put on the target's file at path, an
// absolute one, which the tool has read here.
func (s *Supervisor) probed(path string) unix.Errno {
	if strings.HasPrefix(path, "/proc/") {
		return 0 // the target's own
	}
	p := &s.programs
	p.mu.Lock()
	defer p.mu.Unlock()
	errno, known := p.same[path]
	if !known {
		if p.same == nil {
			p.same = make(map[string]unix.Errno)
		}
		errno = s.compare(path)
		p.same[path] = errno
	}
	return errno
}

// compare looks at the host's file and the target's.
func (s *Supervisor) compare(path string) unix.Errno {
	here, err := os.Open(path)
	if err != nil {
		return 0 // so the offset is not from it
	}
	defer here.Close()
	there := &remoteFile{s: s, handle: s.target.NewHandle()}
	var reply wire.OpenReply
	if s.target.Do(wire.TypeOpen, &wire.Open{Result: there.handle, Flags: wire.OpenRead, Path: path}, &reply) != nil {
		return unix.EIO
	}
	if reply.Errno != 0 {
		s.warnOnce(fmt.Sprintf("no uprobe on %s: the target has no such file (%v); probe a program of the target's by its path below /proc/PID/root", path, unix.Errno(reply.Errno)))
		return unix.Errno(reply.Errno)
	}
	defer s.drop(there.handle)
	if why := different(here, there); why != "" {
		s.warnOnce(fmt.Sprintf("no uprobe on %s: %s; have the same file here, or probe the target's by its path below /proc/PID/root", path, why))
		return unix.ENOEXEC
	}
	return 0
}

// different says how two programs differ, "" if they do not. Those without
// build-ids are compared byte by byte.
func different(here, there io.ReaderAt) string {
	a, b := buildID(here), buildID(there)
	switch {
	case a != "" && a == b:
		return ""
	case a != "" || b != "":
		return fmt.Sprintf("the target's file is another one (build-id %s here, %s there)", orNone(a), orNone(b))
	case !equal(here, there):
		return "the target's file is another one"
	}
	return ""
}

func orNone(id string) string {
	if id == "" {
		return "none"
	}
	return id
}

// noteBuildID is NT_GNU_BUILD_ID, elf(5).
const noteBuildID = 3

// buildID returns the GNU build-id of an ELF file, "" if it has none.
func buildID(f io.ReaderAt) string {
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p.Open(), 64<<10))
		if err != nil {
			continue
		}
		if id := findBuildID(e, b); id != "" {
			return id
		}
	}
	return ""
}

func findBuildID(e *elf.File, b []byte) string {
	align := func(n uint32) int { return int(n+3) &^ 3 }
	for len(b) >= 12 {
		name, desc, kind := e.ByteOrder.Uint32(b), e.ByteOrder.Uint32(b[4:]), e.ByteOrder.Uint32(b[8:])
		b = b[12:]
		if uint64(name) > uint64(len(b)) || uint64(align(name))+uint64(desc) > uint64(len(b)) {
			return ""
		}
		if kind == noteBuildID && string(b[:name]) == "GNU\x00" {
			return hex.EncodeToString(b[align(name):][:desc])
		}
		b = b[min(align(name)+align(desc), len(b)):]
	}
	return ""
}

// equal compares two files.
func equal(a, b io.ReaderAt) bool {
	const piece = 256 << 10
	x, y := make([]byte, piece), make([]byte, piece)
	for off := int64(0); ; off += piece {
		n, err1 := a.ReadAt(x, off)
		m, err2 := b.ReadAt(y, off)
		if !bytes.Equal(x[:n], y[:m]) || err1 != err2 {
			return false
		}
		if err1 != nil {
			return err1 == io.EOF
		}
	}
}

// remoteFile reads an open file of the target.
type remoteFile struct {
	s      *Supervisor
	handle wire.Handle
}

// ReadAt implements io.ReaderAt.
func (f *remoteFile) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		var reply wire.BytesReply
		req := wire.Read{Handle: f.handle, Off: off + int64(n), Len: uint32(len(b) - n)}
		if err := f.s.target.Do(wire.TypeRead, &req, &reply); err != nil {
			return n, err
		}
		if reply.Errno != 0 {
			return n, unix.Errno(reply.Errno)
		}
		if len(reply.Bytes) == 0 {
			return n, io.EOF
		}
		n += copy(b[n:], reply.Bytes)
	}
	return n, nil
}
