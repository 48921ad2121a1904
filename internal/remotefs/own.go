package remotefs

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"syscall"

	"bpfd/internal/wire"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ownNode is the directory of a process of the tool, or one below it. It has
// links to the real procfs, except where that would tell of the host.
type ownNode struct {
	fs.Inode
	fs  *FS
	dir string // relative to the real procfs
}

var (
	_ fs.NodeLookuper  = (*ownNode)(nil)
	_ fs.NodeReaddirer = (*ownNode)(nil)
)

// fromTarget are the files which the target's daemon has instead.
var fromTarget = map[string]bool{"mounts": true, "mountinfo": true, "mountstats": true, "cgroup": true}

// Lookup finds a file of the process.
func (n *ownNode) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	real := n.dir + "/" + name
	if _, err := os.Lstat(n.fs.real(real)); err != nil {
		return nil, unix.ENOENT
	}
	process := isProcess(n.dir)
	switch {
	case process && fromTarget[name]:
		return (&node{fs: n.fs, path: "/proc"}).adopt(ctx, &n.Inode, "/proc/self/"+name, out)
	case process && (name == "ns" || name == "fdinfo" || name == "task"), path.Base(n.dir) == "task":
		out.Mode = unix.S_IFDIR | 0o555
		return n.NewInode(ctx, &ownNode{fs: n.fs, dir: real}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode("own:" + real)}), 0
	case isNS(n.dir) && (name == "pid" || name == "pid_for_children"):
		// bcc and bpftrace would compile the host's numbers into programs.
		return nil, unix.ENOENT
	case isFDInfo(n.dir):
		if text, ok := n.fdinfo(name); ok {
			out.Mode = unix.S_IFREG | 0o444
			out.Size = uint64(len(text))
			return n.NewInode(ctx, &fs.MemRegularFile{Data: text, Attr: fuse.Attr{Mode: 0o444}}, fs.StableAttr{Mode: unix.S_IFREG}), 0
		}
	}
	out.Mode = unix.S_IFLNK | 0o777
	return n.NewInode(ctx, &fs.MemSymlink{Data: []byte(LocalPath + "/" + real)}, fs.StableAttr{Mode: unix.S_IFLNK}), 0
}

// isProcess says whether a directory is that of a process, or of a thread.
func isProcess(dir string) bool {
	_, err := strconv.Atoi(path.Base(dir))
	return err == nil
}

func isNS(dir string) bool     { return len(dir) > 3 && dir[len(dir)-3:] == "/ns" }
func isFDInfo(dir string) bool { return len(dir) > 7 && dir[len(dir)-7:] == "/fdinfo" }

// fdinfo asks the supervisor for what the target says of a descriptor.
func (n *ownNode) fdinfo(name string) ([]byte, bool) {
	pid, err1 := strconv.Atoi(path.Base(path.Dir(n.dir)))
	fd, err2 := strconv.Atoi(name)
	if err1 != nil || err2 != nil || n.fs.opts.FDInfo == nil {
		return nil, false
	}
	return n.fs.opts.FDInfo(pid, fd)
}

// real is the path of a file of the real procfs, for ourselves.
func (f *FS) real(p string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.opts.Procfs.Fd(), p)
}

// adopt finds a file of the target as a child of another directory.
func (n *node) adopt(ctx ctxt, parent *fs.Inode, p string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	var reply wire.StatReply
	if e := result(n.fs.remote.Do(wire.TypeStat, &wire.Path{Path: p}, &reply), reply.Errno); e != 0 {
		return nil, e
	}
	ino := inode(p)
	fill(&out.Attr, &reply.Attr, ino)
	return parent.NewInode(ctx, &node{fs: n.fs, path: p}, fs.StableAttr{Mode: reply.Attr.Mode & unix.S_IFMT, Ino: ino}), 0
}

// Readdir lists the files of the process.
func (n *ownNode) Readdir(ctx ctxt) (fs.DirStream, syscall.Errno) {
	entries, err := os.ReadDir(n.fs.real(n.dir))
	if err != nil {
		return nil, unix.ENOENT
	}
	list := make([]fuse.DirEntry, 0, len(entries))
	for _, e := range entries {
		list = append(list, fuse.DirEntry{Name: e.Name(), Mode: unix.S_IFLNK, Ino: inode(n.dir + "/" + e.Name())})
	}
	return fs.NewListDirStream(list), 0
}
