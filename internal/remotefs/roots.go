package remotefs

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bpfd/internal/wire"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// rootsDir has the root directory of each process of the target, by its pid:
// one in a container has another than the daemon.
const (
	rootsName = ".root"
	rootsDir  = "/proc/" + rootsName
)

// magicLink matches the links in a process's directory that lead anywhere in
// the target's file system.
var magicLink = regexp.MustCompile(`^/proc/(?:\d+/task/)?(\d+)/(?:root|cwd|exe|fd/\d+)$`)

// TargetPath returns the target's own name of a file in our view of its file
// systems. It is false if the path is none of those.
func TargetPath(p string) (string, bool) {
	if own, ok := strings.CutPrefix(p, TargetRoot); ok && (own == "" || own[0] == '/') {
		return own, true
	}
	rest, ok := strings.CutPrefix(p, rootsDir+"/")
	if !ok {
		return "", false
	}
	pid, file, _ := strings.Cut(rest, "/")
	return "/proc/" + pid + "/root/" + file, true
}

// roots knows which processes have another root directory than the daemon.
type roots struct {
	mu   sync.Mutex // protects seen
	own  func() identity
	seen map[string]sighting // by pid
}

// identity tells a file from all others of the target.
type identity struct{ dev, ino uint64 }

// sighting is where a process's root was.
type sighting struct {
	own  bool // the daemon's
	when time.Time
}

// fresh is how long a sighting holds: a scan of all descriptors of a process
// asks once.
const fresh = time.Second

func newRoots(f *FS) *roots {
	return &roots{seen: make(map[string]sighting), own: sync.OnceValue(func() identity { id, _ := f.stat("/"); return id })}
}

// stat identifies what a path of the target leads to.
func (f *FS) stat(p string) (identity, syscall.Errno) {
	var reply wire.StatReply
	e := result(f.remote.Do(wire.TypeStat, &wire.Path{Path: p, Follow: true}, &reply), reply.Errno)
	return identity{reply.Attr.Dev, reply.Attr.Ino}, e
}

// ownRoot says whether a process has the daemon's root directory. Of one that
// does not tell, as another user's, it is assumed.
func (f *FS) ownRoot(pid string) bool {
	r := f.roots
	r.mu.Lock()
	s, ok := r.seen[pid]
	r.mu.Unlock()
	if ok && time.Since(s.when) < fresh {
		return s.own
	}
	id, e := f.stat("/proc/" + pid + "/root")
	own := e != 0 || id == r.own()
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, s := range r.seen {
		if time.Since(s.when) >= fresh {
			delete(r.seen, old)
		}
	}
	r.seen[pid] = sighting{own, time.Now()}
	return own
}

// magic returns the text of a process's link in our view, whose text on the
// target is an absolute path: one that the daemon would see, or one that the
// process itself does if it is in another mount namespace (d_path,
// fs/d_path.c).
func (f *FS) magic(link, text string) string {
	text = strings.TrimSuffix(text, "/")
	pid := magicLink.FindStringSubmatch(link)[1]
	switch {
	case f.ownRoot(pid):
		return TargetRoot + text
	case path.Base(link) == "root":
		return rootsDir + "/" + pid
	}
	want, e := f.stat(link)
	if e == 0 {
		if id, e := f.stat(text); e == 0 && id == want {
			return TargetRoot + text
		}
	}
	return rootsDir + "/" + pid + text
}

// rootsNode is the directory.
type rootsNode struct {
	fs.Inode
	fs *FS
}

var _ fs.NodeLookuper = (*rootsNode)(nil)

// Lookup finds the root directory of a process.
func (r *rootsNode) Lookup(ctx ctxt, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if _, err := strconv.ParseUint(name, 10, 31); err != nil {
		return nil, unix.ENOENT
	}
	p := "/proc/" + name + "/root/." // the directory, not the link to it
	var reply wire.StatReply
	if e := result(r.fs.remote.Do(wire.TypeStat, &wire.Path{Path: p}, &reply), reply.Errno); e != 0 {
		return nil, e
	}
	id := r.fs.identity(p, &reply.Attr)
	fill(&out.Attr, &reply.Attr, id.Ino)
	return r.NewInode(ctx, &node{fs: r.fs, path: p}, id), 0
}
