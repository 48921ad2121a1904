package remotefs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// nsName is the directory in /proc with the namespaces of the target's
// processes: no path leads to what their links in /proc/PID/ns stand for.
const nsName = ".ns"

// nsLink is such a link. Those of pid namespaces lead nowhere: tools would
// compile their numbers into programs.
var nsLink = regexp.MustCompile(`^/proc/(\d+)(/task/\d+)?/ns/(cgroup|ipc|mnt|net|time|time_for_children|user|uts)$`)

// NamespaceOf returns the process whose link a path like /proc/1/ns/mnt is.
func NamespaceOf(path string) (pid int, ok bool) {
	m := nsLink.FindStringSubmatch(path)
	if m == nil {
		return 0, false
	}
	pid, err := strconv.Atoi(m[1])
	return pid, err == nil
}

// nsDir is the directory. It has every namespace, by the text of its link.
type nsDir struct{ fs.Inode }

var _ fs.NodeLookuper = (*nsDir)(nil)

// Lookup makes a file with the inode number that a text like mnt:[4026531832]
// says: tools compare it.
func (d *nsDir) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	var ino uint64
	kind, rest, _ := strings.Cut(name, ":")
	if _, err := fmt.Sscanf(rest, "[%d]", &ino); err != nil || kind == "" {
		return nil, unix.ENOENT
	}
	out.Mode, out.Ino = unix.S_IFREG|0o444, ino
	file := &fs.MemRegularFile{Attr: fuse.Attr{Mode: 0o444, Ino: ino}}
	return d.NewInode(ctx, file, fs.StableAttr{Mode: unix.S_IFREG, Ino: ino, Gen: inode("ns:" + name)}), 0
}
