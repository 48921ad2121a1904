package remotefs

import (
	"strconv"
	"syscall"

	"bpfd/internal/wire"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// handleDir has the files of PlaceholderDir: they stand for descriptors of the
// target which the tool may read, perf events and iterators.
type handleDir struct {
	fs.Inode
	fs *FS
}

var _ fs.NodeLookuper = (*handleDir)(nil)

// Lookup takes any number for a handle: reading one that the target does not
// keep fails with EBADF.
func (d *handleDir) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	h, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return nil, unix.ENOENT
	}
	out.Mode = unix.S_IFREG | 0o600
	out.SetEntryTimeout(stable)
	out.SetAttrTimeout(stable)
	id := fs.StableAttr{Mode: unix.S_IFREG, Ino: inode(PlaceholderDir + name)}
	return d.NewInode(ctx, &handleNode{remote: d.fs.remote, handle: wire.Handle(h)}, id), 0
}

// handleNode is one of them, and all that have it open: it has no state.
type handleNode struct {
	fs.Inode
	remote Remote
	handle wire.Handle
}

var (
	_ fs.NodeOpener = (*handleNode)(nil)
	_ fs.NodeReader = (*handleNode)(nil)
	_ fs.NodeWriter = (*handleNode)(nil)
)

// Open makes a file without positions, as anonymous inodes are.
func (n *handleNode) Open(ctxt, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_STREAM | fuse.FOPEN_NONSEEKABLE | fuse.FOPEN_NOFLUSH, 0
}

// Read is one read(2) on the target.
func (n *handleNode) Read(_ ctxt, _ fs.FileHandle, dest []byte, _ int64) (fuse.ReadResult, syscall.Errno) {
	req := wire.Read{Handle: n.handle, Off: wire.NoOffset, Len: uint32(len(dest))}
	var reply wire.BytesReply
	e := result(n.remote.Do(wire.TypeRead, &req, &reply), reply.Errno)
	return fuse.ReadResultData(reply.Bytes), e
}

// Write fails as it does on what cannot be written (vfs_write).
func (n *handleNode) Write(ctxt, fs.FileHandle, []byte, int64) (uint32, syscall.Errno) {
	return 0, unix.EINVAL
}
