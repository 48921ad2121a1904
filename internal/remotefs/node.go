package remotefs

import (
	"context"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"bpfd/internal/wire"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

type ctxt = context.Context

// node is a file of the target.
type node struct {
	fs.Inode
	fs   *FS
	path string
}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeMkdirer    = (*node)(nil)
	_ fs.NodeRmdirer    = (*node)(nil)
	_ fs.NodeUnlinker   = (*node)(nil)
	_ fs.NodeRenamer    = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
	_ fs.NodeAccesser   = (*node)(nil)
)

// lifetime is how long names and attributes below a path may be trusted.
func lifetime(p string) time.Duration {
	switch {
	case strings.Contains(p, "/tracing/events/"), strings.HasPrefix(p, "/sys/devices/system/cpu"), strings.HasPrefix(p, "/sys/kernel/btf"):
		return stable
	case strings.HasPrefix(p, "/sys/"):
		return time.Second
	}
	return 0
}

func fill(out *fuse.Attr, a *wire.Attr, ino uint64) {
	out.Ino = ino
	out.Mode, out.Nlink = a.Mode, a.Nlink
	out.Owner = fuse.Owner{Uid: a.UID, Gid: a.GID}
	out.Size, out.Blocks, out.Blksize = a.Size, (a.Size+511)/512, 4096
	out.Rdev = uint32(a.Rdev)
	out.Atime, out.Atimensec = split(a.Atime)
	out.Mtime, out.Mtimensec = split(a.Mtime)
	out.Ctime, out.Ctimensec = split(a.Ctime)
}

func split(ns int64) (uint64, uint32) { return uint64(ns / 1e9), uint32(ns % 1e9) }

// identity is the inode number of a file, and what else tells it apart.
// Directories of cgroup2 have the target's number, which programs compare with
// what the kernel says.
func (f *FS) identity(p string, a *wire.Attr) fs.StableAttr {
	id := fs.StableAttr{Mode: a.Mode & unix.S_IFMT, Ino: inode(p)}
	if f.cgroups[a.Dev] && id.Mode == unix.S_IFDIR {
		id.Gen, id.Ino = id.Ino, a.Ino
	}
	return id
}

func (n *node) child(name string) string { return path.Join(n.path, name) }

// hidden are files of the target that tools would take the host's kernel for.
var hidden = map[string]bool{"/proc/version_signature": true}

// Lookup finds a file of the target.
func (n *node) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.find(ctx, n.child(name), out)
}

func (n *node) find(ctx ctxt, p string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if hidden[p] {
		return nil, unix.ENOENT
	}
	var reply wire.StatReply
	e := result(n.fs.remote.Do(wire.TypeStat, &wire.Path{Path: p}, &reply), reply.Errno)
	if e != 0 {
		if kind, data := n.fs.standIn(p); kind != 0 && e == unix.ENOENT {
			return n.synthesise(ctx, p, kind, data, out), 0
		}
		if p == kheaders {
			n.fs.opts.Headers.Missed()
		}
		if e == unix.ENOENT && n.fs.opts.Absent != nil {
			n.fs.opts.Absent(p)
		}
		return nil, e
	}
	if instead := n.fs.opts.Instead[p]; instead != nil {
		if data := instead(); data != nil {
			return n.synthesise(ctx, p, unix.S_IFREG, data, out), 0
		}
	}
	id := n.fs.identity(p, &reply.Attr)
	fill(&out.Attr, &reply.Attr, id.Ino)
	out.SetEntryTimeout(lifetime(p))
	out.SetAttrTimeout(lifetime(p))
	return n.NewInode(ctx, &node{fs: n.fs, path: p}, id), 0
}

// kheaders is where tools look for headers at last, when /lib/modules has none.
const kheaders = "/sys/kernel/kheaders.tar.xz"

// standIns are files that tools insist on although a target may lack them: bcc's
// look for functions that may not be probed.
var standIns = map[string][]byte{"/sys/kernel/debug/kprobes/blacklist": nil}

// standIn returns the type of what is shown where the target has nothing, 0 if
// nothing is, and its content.
func (f *FS) standIn(p string) (kind uint32, data []byte) {
	for _, files := range []map[string][]byte{standIns, f.opts.StandIns} {
		for name, data := range files {
			switch p {
			case name:
				return unix.S_IFREG, data
			case path.Dir(name):
				return unix.S_IFDIR, nil
			}
		}
	}
	return 0, nil
}

func (n *node) synthesise(ctx ctxt, p string, kind uint32, data []byte, out *fuse.EntryOut) *fs.Inode {
	id := fs.StableAttr{Mode: kind, Ino: inode(p)}
	out.Mode, out.Ino, out.Size = kind|0o444, id.Ino, uint64(len(data))
	out.SetEntryTimeout(lifetime(p))
	out.SetAttrTimeout(lifetime(p))
	if kind == unix.S_IFDIR {
		out.Mode |= 0o111
		return n.NewInode(ctx, &node{fs: n.fs, path: p}, id)
	}
	return n.NewInode(ctx, &fs.MemRegularFile{Data: data, Attr: fuse.Attr{Mode: 0o444}}, id)
}

// Readdir lists a directory of the target.
func (n *node) Readdir(ctx ctxt) (fs.DirStream, syscall.Errno) {
	list, e := n.list()
	return fs.NewListDirStream(list), e
}

func (n *node) list() ([]fuse.DirEntry, syscall.Errno) {
	var reply wire.ReadDirReply
	e := result(n.fs.remote.Do(wire.TypeReadDir, &wire.Path{Path: n.path}, &reply), reply.Errno)
	if kind, _ := n.fs.standIn(n.path); e != 0 && !(e == unix.ENOENT && kind == unix.S_IFDIR) {
		return nil, e
	}
	list := make([]fuse.DirEntry, 0, len(reply.Entries))
	for _, e := range reply.Entries {
		p := n.child(e.Name)
		if !hidden[p] {
			list = append(list, fuse.DirEntry{Name: e.Name, Mode: e.Type, Ino: inode(p)})
		}
	}
	return n.listStandIns(list), 0
}

// listStandIns adds what is shown in a directory although the target lacks it.
func (n *node) listStandIns(list []fuse.DirEntry) []fuse.DirEntry {
	for name := range n.fs.opts.StandIns {
		for ; name != "/"; name = path.Dir(name) {
			base := path.Base(name)
			if path.Dir(name) != n.path || slices.ContainsFunc(list, func(e fuse.DirEntry) bool { return e.Name == base }) {
				continue
			}
			if kind, _ := n.fs.standIn(name); kind != 0 {
				list = append(list, fuse.DirEntry{Name: base, Mode: kind, Ino: inode(name)})
			}
		}
	}
	return list
}

// Getattr examines the file, never a link's end.
func (n *node) Getattr(ctx ctxt, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	var reply wire.StatReply
	if e := result(n.fs.remote.Do(wire.TypeStat, &wire.Path{Path: n.path}, &reply), reply.Errno); e != 0 {
		if kind, _ := n.fs.standIn(n.path); kind == unix.S_IFDIR {
			out.Mode = unix.S_IFDIR | 0o555
			return 0
		}
		return e
	}
	fill(&out.Attr, &reply.Attr, n.fs.identity(n.path, &reply.Attr).Ino)
	out.SetTimeout(lifetime(n.path))
	return 0
}

// Setattr truncates and changes modes. Opening with O_TRUNC arrives here as
// well; on tracefs it is what clears a file, unlike truncate(2).
func (n *node) Setattr(ctx ctxt, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok && size == 0 {
		h := n.fs.remote.NewHandle()
		var reply wire.OpenReply
		req := wire.Open{Result: h, Flags: wire.OpenWrite | wire.OpenTruncate, Path: n.path}
		if e := result(n.fs.remote.Do(wire.TypeOpen, &req, &reply), reply.Errno); e != 0 {
			return e
		}
		n.fs.remote.Post(wire.TypeClose, &wire.Close{Handles: []wire.Handle{h}})
	}
	if mode, ok := in.GetMode(); ok {
		if e := n.change(wire.PathOp{Op: wire.OpChmod, Path: n.path, Arg: uint64(mode)}); e != 0 {
			return e
		}
	}
	return n.Getattr(ctx, f, out)
}

func (n *node) change(op wire.PathOp) syscall.Errno {
	var reply wire.Status
	return result(n.fs.remote.Do(wire.TypePathOp, &op, &reply), reply.Errno)
}

// Readlink returns the target's text; where a process's link leads into the
// target's file system it leads into our view of it.
func (n *node) Readlink(ctx ctxt) ([]byte, syscall.Errno) {
	var reply wire.BytesReply
	if e := result(n.fs.remote.Do(wire.TypeReadlink, &wire.Path{Path: n.path}, &reply), reply.Errno); e != 0 {
		return nil, e
	}
	if text := string(reply.Bytes); strings.HasPrefix(text, "/") && magicLink.MatchString(n.path) {
		return []byte(n.fs.magic(n.path, text)), 0
	}
	if _, ok := NamespaceOf(n.path); ok {
		return []byte("/proc/" + nsName + "/" + string(reply.Bytes)), 0
	}
	return reply.Bytes, 0
}

// Mkdir makes a directory, an instance of tracefs for one.
func (n *node) Mkdir(ctx ctxt, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.change(wire.PathOp{Op: wire.OpMkdir, Path: n.child(name), Arg: uint64(mode)}); e != 0 {
		return nil, e
	}
	return n.Lookup(ctx, name, out)
}

// Rmdir removes a directory.
func (n *node) Rmdir(ctx ctxt, name string) syscall.Errno {
	return n.change(wire.PathOp{Op: wire.OpRmdir, Path: n.child(name)})
}

// Unlink removes a file: a pinned object for one.
func (n *node) Unlink(ctx ctxt, name string) syscall.Errno {
	return n.change(wire.PathOp{Op: wire.OpUnlink, Path: n.child(name)})
}

// Rename renames a file of the target.
func (n *node) Rename(ctx ctxt, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	dir, ok := to.(*node)
	if !ok || flags != 0 {
		return unix.EXDEV
	}
	return n.change(wire.PathOp{Op: wire.OpRename, Path: n.child(name), Path2: dir.child(newName)})
}

// Access asks the target.
func (n *node) Access(ctx ctxt, mask uint32) syscall.Errno {
	e := n.change(wire.PathOp{Op: wire.OpAccess, Path: n.path, Arg: uint64(mask)})
	if kind, _ := n.fs.standIn(n.path); kind != 0 && e == unix.ENOENT {
		return 0
	}
	return e
}

// Statfs passes on the target's figures.
func (n *node) Statfs(ctx ctxt, out *fuse.StatfsOut) syscall.Errno {
	var reply wire.StatfsReply
	if e := result(n.fs.remote.Do(wire.TypeStatfs, &wire.Path{Path: n.path}, &reply), reply.Errno); e != 0 {
		return e
	}
	*out = fuse.StatfsOut{Blocks: reply.Blocks, Bfree: reply.Bfree, Bavail: reply.Bavail, Files: reply.Files,
		Ffree: reply.Ffree, Bsize: uint32(reply.Bsize), NameLen: uint32(reply.Namelen), Frsize: uint32(reply.Frsize)}
	return 0
}
