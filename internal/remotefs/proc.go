package remotefs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// procNode is /proc: the target's, but for the caller's own process.
type procNode struct{ node }

var (
	_ fs.NodeLookuper  = (*procNode)(nil)
	_ fs.NodeReaddirer = (*procNode)(nil)
)

// OnAdd makes the directories that are ours.
func (p *procNode) OnAdd(ctx ctxt) {
	local := p.NewPersistentInode(ctx, &fs.Inode{}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode(LocalPath)})
	p.AddChild(localName, local, true)
	handles := p.NewPersistentInode(ctx, &handleDir{fs: p.fs}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode(PlaceholderDir)})
	p.AddChild(handlesName, handles, true)
	root := p.NewPersistentInode(ctx, &node{fs: p.fs, path: "/"}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode(TargetRoot)})
	p.AddChild(rootName, root, true)
	roots := p.NewPersistentInode(ctx, &rootsNode{fs: p.fs}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode(rootsDir)})
	p.AddChild(rootsName, roots, true)
	ns := p.NewPersistentInode(ctx, &nsDir{}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: inode("/proc/" + nsName)})
	p.AddChild(nsName, ns, true)
}

// Lookup finds what is ours, then what is the target's.
func (p *procNode) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	switch name {
	case localName, rootName, rootsName, handlesName, nsName:
		out.SetEntryTimeout(stable)
		out.SetAttrTimeout(stable)
		out.Mode = unix.S_IFDIR | 0o555
		return p.GetChild(name), 0
	case "self":
		return p.link(ctx, name, out, func(c int) (string, bool) { t, ok := p.fs.tgid(c); return strconv.Itoa(t), ok }), 0
	case "thread-self":
		return p.link(ctx, name, out, func(c int) (string, bool) {
			t, ok := p.fs.tgid(c)
			return fmt.Sprintf("%d/task/%d", t, c), ok
		}), 0
	}
	if pid, err := strconv.Atoi(name); err == nil && p.fs.own(ctx, pid) {
		ino := inode("own:" + name)
		out.Mode = unix.S_IFDIR | 0o555
		return p.NewInode(ctx, &ownNode{fs: p.fs, dir: name}, fs.StableAttr{Mode: unix.S_IFDIR, Ino: ino}), 0
	}
	return p.node.Lookup(ctx, name, out)
}

// Readdir lists the target's processes and files.
func (p *procNode) Readdir(ctx ctxt) (fs.DirStream, syscall.Errno) { return p.node.Readdir(ctx) }

func (p *procNode) link(ctx ctxt, name string, out *fuse.EntryOut, text func(tid int) (string, bool)) *fs.Inode {
	out.Mode = unix.S_IFLNK | 0o777
	return p.NewInode(ctx, &callerLink{text: text}, fs.StableAttr{Mode: unix.S_IFLNK, Ino: inode("link:" + name)})
}

// callerLink is a symbolic link whose text depends on who reads it.
type callerLink struct {
	fs.Inode
	text func(tid int) (string, bool)
}

var _ fs.NodeReadlinker = (*callerLink)(nil)

// Readlink implements fs.NodeReadlinker.
func (l *callerLink) Readlink(ctx ctxt) ([]byte, syscall.Errno) {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return nil, unix.ENOENT
	}
	text, ok := l.text(int(c.Pid))
	if !ok {
		return nil, unix.ENOENT
	}
	return []byte(text), 0
}

// tgid returns the process that a thread belongs to, in the tool's pid namespace.
func (f *FS) tgid(tid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/%d/status", f.opts.Procfs.Fd(), tid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Tgid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			return n, err == nil
		}
	}
	return 0, false
}

// initPID is that of the init of the tool's pid namespace.
const initPID = 1

// Own says whether a pid is that of a process of the tool. The threads of its
// init have numbers as well, which may be those of processes on the target.
func (f *FS) Own(pid int) bool {
	if pid == initPID {
		return false
	}
	t, ok := f.tgid(pid)
	return ok && t == pid
}

// own says whether a process is the tool or the caller itself: all others are
// the target's.
func (f *FS) own(ctx ctxt, pid int) bool {
	if pid == f.opts.PID && f.Own(pid) {
		return true
	}
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return false
	}
	if int(c.Pid) == pid {
		return true
	}
	t, ok := f.tgid(int(c.Pid))
	return ok && t == pid
}
