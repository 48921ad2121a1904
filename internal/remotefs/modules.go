package remotefs

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Headers are the headers of the target's kernel, which are on this machine:
// a compiler reads a thousand of them.
type Headers interface {
	// Available says whether Find will find some. It takes little time.
	Available() bool
	// Find returns the directories that build and source lead to. It may have
	// to get them from the target first. False: it failed, and said why.
	Find() (build, source string, ok bool)
	// Missed is called when a tool has looked for headers everywhere.
	Missed()
}

// modulesNode takes the place of /lib/modules. Of the target's directory there
// are only the headers, and nothing of the host's.
type modulesNode struct {
	fs.Inode
	fs *FS
}

var (
	_ fs.NodeLookuper  = (*modulesNode)(nil)
	_ fs.NodeReaddirer = (*modulesNode)(nil)
)

// Lookup finds the directory of the target's kernel.
func (n *modulesNode) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if name != n.fs.opts.Release {
		return nil, unix.ENOENT
	}
	return newDir(ctx, &n.Inode, &releaseNode{fs: n.fs}, "modules:"+name, out), 0
}

// Readdir lists the directory of the target's kernel.
func (n *modulesNode) Readdir(ctxt) (fs.DirStream, syscall.Errno) {
	return fs.NewListDirStream([]fuse.DirEntry{{Name: n.fs.opts.Release, Mode: unix.S_IFDIR}}), 0
}

func newDir(ctx ctxt, parent *fs.Inode, n fs.InodeEmbedder, identity string, out *fuse.EntryOut) *fs.Inode {
	ino := inode(identity)
	out.Ino, out.Mode, out.Nlink = ino, unix.S_IFDIR|0o755, 2
	out.SetEntryTimeout(stable)
	out.SetAttrTimeout(stable)
	return parent.NewInode(ctx, n, fs.StableAttr{Mode: unix.S_IFDIR, Ino: ino})
}

// releaseNode is /lib/modules/RELEASE.
type releaseNode struct {
	fs.Inode
	fs *FS
}

var (
	_ fs.NodeLookuper  = (*releaseNode)(nil)
	_ fs.NodeReaddirer = (*releaseNode)(nil)
)

// Lookup finds build and source, if there are headers.
func (n *releaseNode) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if name != "build" && name != "source" || !n.fs.opts.Headers.Available() {
		return nil, unix.ENOENT
	}
	return newDir(ctx, &n.Inode, &treeNode{fs: n.fs, name: name}, "modules:"+name, out), 0
}

// Readdir lists build and source, if there are headers.
func (n *releaseNode) Readdir(ctxt) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	if n.fs.opts.Headers.Available() {
		list = []fuse.DirEntry{{Name: "build", Mode: unix.S_IFDIR}, {Name: "source", Mode: unix.S_IFDIR}}
	}
	return fs.NewListDirStream(list), 0
}

// treeNode is a directory of headers. It has links to what is on the host's
// disk, so that the headers are got when somebody looks into it, and not when
// somebody looks whether it is there.
type treeNode struct {
	fs.Inode
	fs   *FS
	name string // build or source
}

var (
	_ fs.NodeLookuper  = (*treeNode)(nil)
	_ fs.NodeReaddirer = (*treeNode)(nil)
)

func (n *treeNode) dir() (string, bool) {
	build, source, ok := n.fs.opts.Headers.Find()
	if n.name == "source" {
		return source, ok
	}
	return build, ok
}

// Lookup finds a file of the directory's top.
func (n *treeNode) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	dir, ok := n.dir()
	if !ok {
		return nil, unix.EIO
	}
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); err != nil {
		return nil, unix.ENOENT
	}
	out.Mode, out.Size = unix.S_IFLNK|0o777, uint64(len(path))
	out.SetEntryTimeout(stable)
	out.SetAttrTimeout(stable)
	return n.NewInode(ctx, &fs.MemSymlink{Data: []byte(path)}, fs.StableAttr{Mode: unix.S_IFLNK, Ino: inode(n.name + ":" + path)}), 0
}

// Readdir lists the directory's top.
func (n *treeNode) Readdir(ctxt) (fs.DirStream, syscall.Errno) {
	dir, ok := n.dir()
	if !ok {
		return nil, unix.EIO
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, unix.EIO
	}
	list := make([]fuse.DirEntry, 0, len(entries))
	for _, e := range entries {
		list = append(list, fuse.DirEntry{Name: e.Name(), Mode: unix.S_IFLNK})
	}
	return fs.NewListDirStream(list), 0
}
