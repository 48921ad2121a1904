package headers

import (
	"bufio"
	"fmt"
	"io"

	"bpfd/internal/kernel"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// Archive is where a kernel with CONFIG_IKHEADERS shows its own headers, since
// Linux 5.2; if that is a module, it must be loaded.
const Archive = "/sys/kernel/kheaders.tar.xz"

// HasArchive says whether the target shows its kernel's headers.
func (f *Finder) HasArchive() bool {
	_, err := size(f.remote, Archive)
	return err == nil
}

// HasModule says whether the target would show its kernel's headers once
// somebody loads a module there: modprobe kheaders.
func (f *Finder) HasModule() bool {
	for _, suffix := range []string{"", ".xz", ".zst", ".gz"} {
		if _, err := size(f.remote, modules+f.Kernel.Release+"/kernel/kernel/kheaders.ko"+suffix); err == nil {
			return true
		}
	}
	return false
}

// fromArchive unpacks the target's own headers into the cache.
func (f *Finder) fromArchive() (Tree, error) {
	dir, err := store(f.ID(), func(dir string) error {
		r, err := open(f.remote, Archive, f.opts.Progress)
		if err != nil {
			return fmt.Errorf("the target's %s: %w", Archive, err)
		}
		defer r.Close()
		if err := Unpack(r, dir); err != nil {
			if r.failed != nil {
				err = r.failed
			}
			return fmt.Errorf("the target's %s: %w", Archive, err)
		}
		t, err := In(dir)
		if err != nil {
			return fmt.Errorf("the target's %s: %w", Archive, err)
		}
		return Check(t, f.Kernel)
	})
	if err != nil {
		return Tree{}, err
	}
	return In(dir)
}

// file is a file of the target that is read from its beginning to its end.
type file struct {
	remote   kernel.Remote
	handle   wire.Handle
	off      uint64
	size     uint64
	progress func(done, total uint64)
	failed   error // why it ended early
}

// piece is how much is read at once: little enough for others' replies to come
// in between, on a link of 1 Mbit/s.
const piece = 256 << 10

func size(remote kernel.Remote, path string) (uint64, error) {
	var st wire.StatReply
	if err := remote.Do(wire.TypeStat, &wire.Path{Path: path, Follow: true}, &st); err != nil {
		return 0, err
	}
	if st.Errno != 0 {
		return 0, unix.Errno(st.Errno)
	}
	return st.Attr.Size, nil
}

// open opens a file of the target. The reader is buffered by pieces.
func open(remote kernel.Remote, path string, progress func(done, total uint64)) (*file, error) {
	f := &file{remote: remote, handle: remote.NewHandle(), progress: progress}
	var err error
	if f.size, err = size(remote, path); err != nil {
		return nil, err
	}
	var reply wire.OpenReply
	if err := remote.Do(wire.TypeOpen, &wire.Open{Result: f.handle, Flags: wire.OpenRead, Path: path}, &reply); err != nil {
		return nil, err
	}
	if reply.Errno != 0 {
		return nil, unix.Errno(reply.Errno)
	}
	return f, nil
}

// Read reads from where the last read has ended.
func (f *file) Read(p []byte) (int, error) {
	var reply wire.BytesReply
	req := wire.Read{Handle: f.handle, Off: int64(f.off), Len: uint32(min(len(p), piece))}
	if f.failed = f.remote.Do(wire.TypeRead, &req, &reply); f.failed == nil && reply.Errno != 0 {
		f.failed = unix.Errno(reply.Errno)
	}
	if f.failed != nil {
		return 0, f.failed
	}
	n := copy(p, reply.Bytes)
	if n == 0 {
		return 0, io.EOF
	}
	f.off += uint64(n)
	if f.progress != nil {
		f.progress(f.off, f.size)
	}
	return n, nil
}

// Close closes the file on the target.
func (f *file) Close() error {
	return f.remote.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{f.handle}})
}

// maxText bounds a text file that is read at once.
const maxText = 64 << 10

// text returns the content of a small file of the target, "" if there is none.
func text(remote kernel.Remote, path string) string {
	f, err := open(remote, path, nil)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(bufio.NewReaderSize(f, maxText), maxText))
	if err != nil {
		return ""
	}
	return string(b)
}
