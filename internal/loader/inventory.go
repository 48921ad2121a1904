package loader

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/pin"
)

// Kind is a kind of BPF object. Identifiers are unique within a kind.
type Kind string

// The kinds, as messages call them.
const (
	KindProgram Kind = "program"
	KindMap     Kind = "map"
	KindLink    Kind = "link"
)

// Ref names an object.
type Ref struct {
	Kind Kind   `json:"kind"`
	ID   uint32 `json:"id"`
}

// Process is one that has a descriptor of an object.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// Object is a program, map or link of the kernel.
type Object struct {
	Ref
	Type    string    `json:"type"`
	Name    string    `json:"name,omitempty"`
	Maps    []uint32  `json:"maps,omitempty"`    // a program's
	Program uint32    `json:"program,omitempty"` // a link's
	Where   string    `json:"where,omitempty"`   // a link's
	Key     uint32    `json:"key_size,omitempty"`
	Value   uint32    `json:"value_size,omitempty"`
	Entries uint32    `json:"max_entries,omitempty"`
	Pins    []string  `json:"pins,omitempty"`
	Holders []Process `json:"processes,omitempty"`
}

// Inventory is everything that is loaded.
type Inventory struct {
	Programs []*Object `json:"programs"`
	Maps     []*Object `json:"maps"`
	Links    []*Object `json:"links"`
}

// List asks the kernel for all objects, and who pinned or holds them.
func List() (*Inventory, error) {
	inv := &Inventory{}
	for _, f := range []func() error{inv.listPrograms, inv.listMaps, inv.listLinks} {
		if err := f(); err != nil {
			return nil, errPrivilege(err)
		}
	}
	byRef := inv.index()
	pins, err := pinsBelow(bpffs)
	if err != nil {
		return nil, err
	}
	for _, p := range pins {
		if o := byRef[p.ref]; o != nil {
			o.Pins = append(o.Pins, p.path)
		}
	}
	for ref, list := range holders() {
		if o := byRef[ref]; o != nil {
			o.Holders = list
		}
	}
	return inv, nil
}

func errPrivilege(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return errors.New("bpfd may not list BPF objects on the target: it must run as root there, or with CAP_SYS_ADMIN")
	}
	return err
}

func (inv *Inventory) index() map[Ref]*Object {
	m := make(map[Ref]*Object)
	for _, list := range [][]*Object{inv.Programs, inv.Maps, inv.Links} {
		for _, o := range list {
			m[o.Ref] = o
		}
	}
	return m
}

func (inv *Inventory) listPrograms() error {
	for id := ebpf.ProgramID(0); ; {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		} else if err != nil {
			return err
		}
		o := &Object{Ref: Ref{KindProgram, uint32(id)}, Type: kernelName(p.Type().String())}
		if info, err := p.Info(); err == nil {
			o.Name = info.Name
			ids, _ := info.MapIDs()
			for _, m := range ids {
				o.Maps = append(o.Maps, uint32(m))
			}
		}
		p.Close()
		inv.Programs = append(inv.Programs, o)
	}
}

func (inv *Inventory) listMaps() error {
	for id := ebpf.MapID(0); ; {
		var err error
		if id, err = ebpf.MapGetNextID(id); errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		o := &Object{Ref: Ref{KindMap, uint32(id)}, Type: mapType(m.Type()),
			Key: m.KeySize(), Value: m.ValueSize(), Entries: m.MaxEntries()}
		if info, err := m.Info(); err == nil {
			o.Name = info.Name
		}
		m.Close()
		inv.Maps = append(inv.Maps, o)
	}
}

// listLinks finds none on kernels before 5.8, which have no identifiers for them.
func (inv *Inventory) listLinks() error {
	var it link.Iterator
	defer it.Close()
	for it.Next() {
		o := &Object{Ref: Ref{KindLink, uint32(it.ID)}}
		if info, err := it.Link.Info(); err == nil {
			o.Program, o.Type, o.Where = uint32(info.Program), linkType(info.Type), linkWhere(info)
		}
		inv.Links = append(inv.Links, o)
	}
	if err := it.Err(); err != nil && !unsupported(err) {
		return err
	}
	return nil
}

// unsupported says whether a kernel does not know a command.
func unsupported(err error) bool {
	return errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, os.ErrInvalid) || errnoOf(err) == errInval
}

var linkTypes = map[link.Type]string{
	link.RawTracepointType: "raw_tracepoint", link.TracingType: "tracing", link.CgroupType: "cgroup",
	link.IterType: "iter", link.NetNsType: "netns", link.XDPType: "xdp", link.PerfEventType: "perf_event",
	link.KprobeMultiType: "kprobe_multi", link.TCXType: "tcx", link.UprobeMultiType: "uprobe_multi",
	link.NetfilterType: "netfilter", link.NetkitType: "netkit", link.StructOpsType: "struct_ops",
}

func linkType(t link.Type) string {
	if s := linkTypes[t]; s != "" {
		return s
	}
	return fmt.Sprintf("type %d", t)
}

// linkWhere says where a link is attached.
func linkWhere(i *link.Info) string {
	switch i.Type {
	case link.CgroupType:
		if c := i.Cgroup(); c != nil {
			return fmt.Sprintf("cgroup id %d, %s", c.CgroupId, attachName(ebpf.AttachType(c.AttachType)))
		}
	case link.XDPType:
		if x := i.XDP(); x != nil {
			return interfaceName(x.Ifindex)
		}
	case link.TCXType:
		if x := i.TCX(); x != nil {
			return interfaceName(x.Ifindex) + ", " + attachName(ebpf.AttachType(x.AttachType))
		}
	case link.TracingType:
		if x := i.Tracing(); x != nil {
			return attachName(ebpf.AttachType(x.AttachType))
		}
	case link.PerfEventType:
		return perfEventWhere(i)
	}
	return ""
}

// attachName is a kernel's name: BPF_CGROUP_INET_INGRESS is 0, which
// cilium/ebpf takes for none.
func attachName(t ebpf.AttachType) string {
	if t == ebpf.AttachCGroupInetIngress {
		return "cgroup_inet_ingress"
	}
	return kernelName(t.String())
}

// perfEventWhere is known since Linux 6.6.
func perfEventWhere(i *link.Info) string {
	pe := i.PerfEvent()
	if pe == nil {
		return ""
	}
	if k := pe.Kprobe(); k != nil && k.Function != "" {
		return "kprobe " + k.Function
	}
	if u := pe.Uprobe(); u != nil && u.File != "" {
		return fmt.Sprintf("uprobe %s+%#x", u.File, u.Offset)
	}
	if t := pe.Tracepoint(); t != nil && t.Tracepoint != "" {
		return "tracepoint " + t.Tracepoint
	}
	return ""
}

// interfaceName asks sysfs, since a socket's answer would be the host's.
func interfaceName(index uint32) string {
	list, _ := filepath.Glob("/sys/class/net/*/ifindex")
	for _, f := range list {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(int(index)) {
			return filepath.Base(filepath.Dir(f))
		}
	}
	return fmt.Sprintf("interface %d", index)
}

// pinned is a file of a bpf file system.
type pinned struct {
	path string
	ref  Ref
}

// pinsBelow walks a directory of a bpf file system. Files that are no objects,
// or may not be opened, are left out.
func pinsBelow(dir string) ([]pinned, error) {
	var list []pinned
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == dir && errors.Is(err, os.ErrNotExist) {
				return fs.SkipAll
			}
			return err
		}
		if d.Type().IsRegular() {
			if ref, err := refOfPin(path); err == nil {
				list = append(list, pinned{path, ref})
			}
		}
		return nil
	})
	return list, err
}

// refOfPin opens a pin and asks for its identity.
func refOfPin(path string) (Ref, error) {
	o, err := pin.Load(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		// Programs and links cannot be opened for reading alone.
		if o, err = pin.Load(path, nil); err != nil {
			return Ref{}, err
		}
	}
	defer o.Close()
	switch o := o.(type) {
	case *ebpf.Program:
		info, err := o.Info()
		if err != nil {
			return Ref{}, err
		}
		id, _ := info.ID()
		return Ref{KindProgram, uint32(id)}, nil
	case *ebpf.Map:
		info, err := o.Info()
		if err != nil {
			return Ref{}, err
		}
		id, _ := info.ID()
		return Ref{KindMap, uint32(id)}, nil
	case link.Link:
		info, err := o.Info()
		if err != nil {
			return Ref{}, err
		}
		return Ref{KindLink, uint32(info.ID)}, nil
	}
	return Ref{}, fmt.Errorf("%s: unknown object", path)
}

// users returns what keeps an object alive, in words.
func (inv *Inventory) users(ref Ref) []string {
	var list []string
	for _, l := range inv.Links {
		if ref.Kind == KindProgram && l.Program == ref.ID {
			list = append(list, fmt.Sprintf("link %d", l.ID))
		}
	}
	for _, p := range inv.Programs {
		if ref.Kind == KindMap && slices.Contains(p.Maps, ref.ID) {
			list = append(list, strings.TrimSpace(fmt.Sprintf("program %d %s", p.ID, p.Name)))
		}
	}
	if o := inv.index()[ref]; o != nil {
		for _, p := range o.Pins {
			list = append(list, "pin "+p)
		}
		for _, h := range o.Holders {
			list = append(list, h.String())
		}
	}
	return list
}

// String is NAME(PID).
func (p Process) String() string { return fmt.Sprintf("%s(%d)", p.Name, p.PID) }

func sortProcesses(list []Process) {
	slices.SortFunc(list, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
}
