package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Unloaded is what an unload did.
type Unloaded struct {
	Removed  []string // pins
	Left     []string // files that load did not make, and the directories they are in
	Detached []string // attachments that had no pin
	InUse    []InUse  // what is still loaded though it is pinned here no more
}

// InUse is an object that something else keeps.
type InUse struct {
	Ref
	Name  string
	Users []string // in words; empty: not known
}

// kindOf is the kind of object in each directory that load makes, in the order
// in which they are removed.
var kindOf = []struct {
	dir  string
	kind Kind
}{{linksDir, KindLink}, {progsDir, KindProgram}, {mapsDir, KindMap}}

// Unload removes exactly what Load made below a directory.
func Unload(dir string) (*Unloaded, error) {
	path, err := PinPath(dir)
	if err != nil {
		return nil, err
	}
	if err := checkMade(path); err != nil {
		return nil, err
	}
	u := &Unloaded{}
	refs := make(map[Ref]string)
	if u.Detached, err = detachUnlinked(path); err != nil {
		return nil, err
	}
	for _, k := range kindOf {
		if err := u.removeDir(filepath.Join(path, k.dir), k.kind, refs); err != nil {
			return u, err
		}
	}
	if err := u.removeTop(path); err != nil {
		return u, err
	}
	u.InUse, err = stillUsed(refs)
	return u, err
}

// checkMade says whether a directory is one that Load makes.
func checkMade(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no %s on the target", path)
	} else if err != nil {
		return fmt.Errorf("%s on the target: %w", path, errnoOf(err))
	}
	for _, e := range entries {
		for _, k := range kindOf {
			if e.Name() == k.dir && e.IsDir() {
				return nil
			}
		}
	}
	if len(entries) == 0 {
		return nil // a load that was cut before its first pin
	}
	return fmt.Errorf("%s on the target was not made by bpfctl load: it has none of its directories progs, maps and links", path)
}

// removeDir removes the pins of one kind and the directory, and notes in refs
// what they were.
func (u *Unloaded) removeDir(dir string, kind Kind, refs map[Ref]string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	left := len(u.Left)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		ref, err := Ref{}, error(nil)
		if e.Type().IsRegular() {
			ref, err = refOfPin(path)
		}
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil && !unsupported(err) {
			return fmt.Errorf("%s on the target: %w", path, err)
		}
		if err == nil && ref.Kind != kind {
			u.Left = append(u.Left, path)
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("%s cannot be removed on the target: %w", path, errnoOf(err))
		}
		u.Removed = append(u.Removed, path)
		if err == nil {
			refs[ref] = e.Name()
		}
	}
	if len(u.Left) > left {
		return nil
	}
	return os.Remove(dir)
}

// removeTop removes the directory itself if nothing is left in it.
func (u *Unloaded) removeTop(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := filepath.Join(path, e.Name())
		if !slices.ContainsFunc(u.Left, func(l string) bool { return strings.HasPrefix(l, p+"/") }) {
			u.Left = append(u.Left, p)
		}
	}
	if len(entries) > 0 {
		return nil
	}
	return os.Remove(path)
}

// The kernel frees an object some time after its last user is gone.
const (
	freeTime = 2 * time.Second
	freePoll = 50 * time.Millisecond
)

// stillUsed waits for objects to be freed and says who uses those that are not.
func stillUsed(refs map[Ref]string) ([]InUse, error) {
	for end := time.Now().Add(freeTime); ; time.Sleep(freePoll) {
		for r := range refs {
			if !exists(r) {
				delete(refs, r)
			}
		}
		if len(refs) == 0 {
			return nil, nil
		}
		if time.Now().After(end) {
			break
		}
	}
	inv, err := List()
	if err != nil {
		return nil, err
	}
	var list []InUse
	for _, r := range slices.SortedFunc(maps.Keys(refs), func(a, b Ref) int {
		return strings.Compare(fmt.Sprint(a.Kind, refs[a]), fmt.Sprint(b.Kind, refs[b]))
	}) {
		if inv.index()[r] != nil {
			list = append(list, InUse{r, refs[r], inv.users(r)})
		}
	}
	return list, nil
}

// exists asks the kernel for an object by its identifier.
func exists(r Ref) bool {
	var c interface{ Close() error }
	var err error
	switch r.Kind {
	case KindProgram:
		c, err = ebpf.NewProgramFromID(ebpf.ProgramID(r.ID))
	case KindMap:
		c, err = ebpf.NewMapFromID(ebpf.MapID(r.ID))
	case KindLink:
		c, err = link.NewFromID(link.ID(r.ID))
	}
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) && !unsupported(err)
	}
	c.Close()
	return true
}

// cgroupAttachTypes are those of kernels that have no links for cgroups.
var cgroupAttachTypes = []ebpf.AttachType{
	ebpf.AttachCGroupInetIngress, ebpf.AttachCGroupInetEgress, ebpf.AttachCGroupInetSockCreate, ebpf.AttachCGroupSockOps,
	ebpf.AttachCGroupDevice, ebpf.AttachCGroupInet4Bind, ebpf.AttachCGroupInet6Bind, ebpf.AttachCGroupInet4Connect,
	ebpf.AttachCGroupInet6Connect, ebpf.AttachCGroupInet4PostBind, ebpf.AttachCGroupInet6PostBind,
	ebpf.AttachCGroupUDP4Sendmsg, ebpf.AttachCGroupUDP6Sendmsg, ebpf.AttachCGroupSysctl, ebpf.AttachCGroupUDP4Recvmsg,
	ebpf.AttachCGroupUDP6Recvmsg, ebpf.AttachCGroupGetsockopt, ebpf.AttachCGroupSetsockopt,
}

// haveCgroupLinks says whether a kernel is one of those that attach to cgroups
// by links: 5.7 and later.
func haveCgroupLinks() bool {
	var major, minor int
	fmt.Sscanf(release(), "%d.%d", &major, &minor)
	return major > 5 || major == 5 && minor >= 7
}

// detachUnlinked detaches the programs below dir that were attached to cgroups
// without links, as kernels before 5.7 do.
func detachUnlinked(dir string) ([]string, error) {
	if haveCgroupLinks() {
		return nil, nil
	}
	progs := make(map[ebpf.ProgramID]*ebpf.Program)
	entries, _ := os.ReadDir(filepath.Join(dir, progsDir))
	for _, e := range entries {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(dir, progsDir, e.Name()), nil)
		if err != nil {
			continue // removing it will say why
		}
		defer p.Close()
		if info, err := p.Info(); err == nil && (strings.HasPrefix(p.Type().String(), "CGroup") || p.Type() == ebpf.SockOps) {
			id, _ := info.ID()
			progs[id] = p
		}
	}
	root, err := cgroupRoot()
	if len(progs) == 0 || err != nil {
		return nil, nil
	}
	var done []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		list, err := detachFrom(path, progs)
		done = append(done, list...)
		return err
	})
	return done, err
}

// detachFrom detaches programs from one cgroup.
func detachFrom(cgroup string, progs map[ebpf.ProgramID]*ebpf.Program) ([]string, error) {
	fd, err := unix.Open(cgroup, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil // gone meanwhile
	}
	defer unix.Close(fd)
	var done []string
	for _, t := range cgroupAttachTypes {
		q, err := link.QueryPrograms(link.QueryOptions{Target: fd, Attach: t})
		if err != nil {
			continue // the kernel does not know this type
		}
		for _, a := range q.Programs {
			p := progs[a.ID]
			if p == nil {
				continue
			}
			if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: fd, Program: p, Attach: t}); err != nil {
				return done, fmt.Errorf("program %d cannot be detached from cgroup %s: %w", a.ID, cgroup, err)
			}
			done = append(done, fmt.Sprintf("program %d from cgroup %s, %s", a.ID, cgroup, t))
		}
	}
	return done, nil
}
