// Package kernel knows the target's kernel: which build it is, and its type
// information, which is fetched once per build and kept in the cache.
package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"sync"

	"bpfd/internal/cache"
	"bpfd/internal/wire"
)

// Remote is the connection to the target.
type Remote interface {
	Do(t wire.Type, req wire.Message, reply wire.Body) error
	Post(t wire.Type, req wire.Message) error
	NewHandle() wire.Handle
}

// Kernel is the kernel of one target.
type Kernel struct {
	remote  Remote
	buildID func() string
	btf     func() []byte
}

// New returns the kernel of a target. Nothing is asked for yet.
func New(r Remote) *Kernel {
	k := &Kernel{remote: r}
	k.buildID = sync.OnceValue(k.readBuildID)
	k.btf = sync.OnceValue(k.loadBTF)
	return k
}

// BuildID returns the build-id of the kernel in hexadecimal, "" if it does not
// tell (/sys/kernel/notes, ld's --build-id).
func (k *Kernel) BuildID() string { return k.buildID() }

// BTFPath is where a kernel shows its type information (since Linux 5.4).
const BTFPath = "/sys/kernel/btf/vmlinux"

// BTF returns the content of BTFPath, nil if the target has none.
func (k *Kernel) BTF() []byte { return k.btf() }

// Symbols returns the content of /proc/kallsyms, nil if it cannot be read.
func (k *Kernel) Symbols() []byte { return k.read("/proc/kallsyms") }

// maxNotes is more than the notes of any kernel take.
const maxNotes = 64 << 10

func (k *Kernel) readBuildID() string {
	var reply wire.OpenReply
	req := wire.Open{Result: k.remote.NewHandle(), Flags: wire.OpenRead, Snapshot: maxNotes, Path: "/sys/kernel/notes"}
	if k.remote.Do(wire.TypeOpen, &req, &reply) != nil || reply.Errno != 0 {
		return ""
	}
	if !reply.EOF {
		k.close(req.Result)
	}
	return hex.EncodeToString(gnuBuildID(reply.Bytes))
}

func (k *Kernel) close(h wire.Handle) {
	k.remote.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{h}})
}

// gnuBuildID finds the note NT_GNU_BUILD_ID among ELF notes, elf(5). All
// architectures that Linux's BTF is used on here are little endian.
func gnuBuildID(notes []byte) []byte {
	const header, buildID = 12, 3
	for len(notes) >= header {
		nameLen := int(binary.LittleEndian.Uint32(notes))
		descLen := int(binary.LittleEndian.Uint32(notes[4:]))
		kind := binary.LittleEndian.Uint32(notes[8:])
		desc := header + (nameLen+3)&^3
		end := desc + (descLen+3)&^3
		if nameLen < 0 || descLen < 0 || desc < header || end < desc || end > len(notes) {
			return nil
		}
		if kind == buildID && bytes.Equal(notes[header:header+nameLen], []byte("GNU\x00")) {
			return notes[desc : desc+descLen]
		}
		notes = notes[end:]
	}
	return nil
}

// loadBTF takes the type information from the cache, or from the target.
func (k *Kernel) loadBTF() []byte {
	var st wire.StatReply
	if k.remote.Do(wire.TypeStat, &wire.Path{Path: BTFPath}, &st) != nil || st.Errno != 0 {
		return nil
	}
	id := k.BuildID()
	path := cache.Path("btf", id)
	if id != "" {
		if b, err := cache.Map(path); err == nil && uint64(len(b)) == st.Attr.Size {
			return b
		}
	}
	b := k.read(BTFPath)
	if uint64(len(b)) != st.Attr.Size {
		return nil
	}
	if id != "" {
		// Without the cache it is fetched again the next time, no more.
		cache.Put(path, b, 0o600)
	}
	return b
}

// read returns the content of a file of the target, nil if it fails.
func (k *Kernel) read(path string) []byte {
	const piece = wire.MaxBody / 2
	var open wire.OpenReply
	req := wire.Open{Result: k.remote.NewHandle(), Flags: wire.OpenRead, Path: path}
	if k.remote.Do(wire.TypeOpen, &req, &open) != nil || open.Errno != 0 {
		return nil
	}
	defer k.close(req.Result)
	var all []byte
	for {
		var reply wire.BytesReply
		r := wire.Read{Handle: req.Result, Off: int64(len(all)), Len: piece}
		if k.remote.Do(wire.TypeRead, &r, &reply) != nil || reply.Errno != 0 {
			return nil
		}
		if len(reply.Bytes) == 0 {
			return all
		}
		all = append(all, reply.Bytes...)
	}
}
