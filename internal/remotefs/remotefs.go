// Package remotefs serves the target's /proc, /sys and root directory to a
// tool, by FUSE. What belongs to the tool's own process stays local.
package remotefs

import (
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	"bpfd/internal/wire"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// LocalPath is where the tool's own procfs is, inside of the tree.
	LocalPath = "/proc/" + localName
	// TargetRoot is where the target's root directory is.
	TargetRoot = "/proc/" + rootName

	// PlaceholderDir has a file for each handle of the session, by its number:
	// what is read from it is read from what the target keeps under it.
	PlaceholderDir = "/proc/" + handlesName + "/"

	handlesName = ".handle"
	localName   = ".local"
	rootName    = ".target"
)

// Remote is the connection to the target.
type Remote interface {
	Do(t wire.Type, req wire.Message, reply wire.Body) error
	DoCancel(cancel <-chan struct{}, t wire.Type, req wire.Message, reply wire.Body) error
	Post(t wire.Type, req wire.Message) error
	NewHandle() wire.Handle
}

// Options of a file system.
type Options struct {
	PID    int      // of the tool, in its own pid namespace
	Procfs *os.File // the procfs of that namespace
	// FDInfo returns what fdinfo of a descriptor says, if it is a placeholder.
	FDInfo func(tid, fd int) ([]byte, bool)
	// Probed says whether a uprobe may be put on the target's file of that path.
	Probed func(path string) syscall.Errno
	// Known returns the content of files which need not be read on the target
	// each time, by path; nil if it is not known after all.
	Known map[string]func() []byte
	// Absent is told of the paths of files which the tool looked for and the
	// target does not have.
	Absent func(path string)
	// Instead returns what is shown in the place of the content of files that the
	// target has, by path; nil for what the target has.
	Instead map[string]func() []byte
	// StandIns are the content of files that are shown if the target lacks them.
	StandIns map[string][]byte
	// Release is the target's, and Headers are those of its kernel.
	Release string
	Headers Headers
}

// FS is a file system that is being served.
type FS struct {
	remote Remote
	opts   Options
	server *fuse.Server
	// cgroups are the target's devices which are cgroup2 file systems.
	cgroups map[uint64]bool
	roots   *roots
}

// MountOptions are the options of mount(2), besides the descriptor.
func MountOptions(privileged bool) string {
	o := fmt.Sprintf("rootmode=40755,user_id=0,group_id=0,max_read=%d", maxRead)
	if privileged {
		o += ",allow_other"
	}
	return o
}

const maxRead = 1 << 20

// silent takes what go-fuse logs, for example that a request was interrupted
// before its answer: standard error is the tool's.
var silent = log.New(io.Discard, "", 0)

// Serve serves a file system over device, an open /dev/fuse that is mounted.
func Serve(remote Remote, device *os.File, opts Options) (*FS, error) {
	f := &FS{remote: remote, opts: opts}
	f.cgroups, f.roots = f.findCgroups(), newRoots(f)
	zero := time.Duration(0)
	raw := fs.NewNodeFS(&rootNode{fs: f}, &fs.Options{
		AttrTimeout: &zero, EntryTimeout: &zero, NegativeTimeout: nil,
		RootStableAttr:  &fs.StableAttr{Ino: 1},
		NullPermissions: true,
		Logger:          silent,
	})
	server, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", device.Fd()), &fuse.MountOptions{
		DisableReadDirPlus: true, MaxWrite: maxRead, MaxBackground: 64, DisableXAttrs: true,
		// Each write(2) of the tool is one on the target.
		ExplicitDataCacheControl: true,
		Logger:                   silent,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot serve FUSE: %w", err)
	}
	f.server = server
	go server.Serve()
	return f, nil
}

// findCgroups reads the target's mountinfo, proc(5).
func (f *FS) findCgroups() map[uint64]bool {
	var reply wire.OpenReply
	req := wire.Open{Result: f.remote.NewHandle(), Flags: wire.OpenRead, Snapshot: maxRead, Path: "/proc/self/mountinfo"}
	found := make(map[uint64]bool)
	if f.remote.Do(wire.TypeOpen, &req, &reply) != nil {
		return found
	}
	for line := range strings.Lines(string(reply.Bytes)) {
		mount, super, _ := strings.Cut(line, " - ")
		var id, parent int
		var major, minor uint32
		if n, _ := fmt.Sscanf(mount, "%d %d %d:%d", &id, &parent, &major, &minor); n == 4 && strings.HasPrefix(super, "cgroup2 ") {
			found[unix.Mkdev(major, minor)] = true
		}
	}
	return found
}

// Close waits until the file system is unmounted, which the end of the tool's
// mount namespace does.
func (f *FS) Close() { f.server.Wait() }

// rootNode has the directories that are mounted over the host's.
type rootNode struct {
	fs.Inode
	fs *FS
}

// stable is how long the kernel may trust what does not change.
const stable = 24 * time.Hour

// OnAdd makes the fixed part of the tree.
func (r *rootNode) OnAdd(ctx ctxt) {
	dir := func(parent *fs.Inode, name string, n fs.InodeEmbedder) *fs.Inode {
		c := parent.NewPersistentInode(ctx, n, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode("dir:" + name)})
		parent.AddChild(name, c, true)
		return c
	}
	root := r.EmbeddedInode()
	proc := &procNode{node: node{fs: r.fs, path: "/proc"}}
	dir(root, "proc", proc)
	dir(root, "sys", &node{fs: r.fs, path: "/sys"})
	dir(root, "modules", &modulesNode{fs: r.fs})
}

// inode derives an inode number from what identifies a file. The target's are
// of no use: eventfs gives every file the same.
func inode(identity string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(identity))
	return h.Sum64() | 1<<63
}

// errno returns the FUSE status of a reply.
func result(err error, errno uint32) unix.Errno {
	if err != nil {
		return unix.EIO
	}
	return unix.Errno(errno)
}
