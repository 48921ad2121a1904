package loader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Options say what to load and how.
type Options struct {
	Object   string            // the object file
	Pin      string            // directory below the bpf file system, "" to pin nothing
	Attach   bool              // attach each program where its section says
	Maps     map[string]string // maps to take from pins, by their names in the object
	Set      map[string]string // values of global variables
	BTF      string            // types to relocate against, "" for those of the running kernel
	Verbose  bool              // ask the verifier for its log even if it accepts
	Where    Where
	LogLines int // how many lines of the verifier's log an error shows
}

// Loaded is what was loaded. Close lets go of it: what is pinned stays.
type Loaded struct {
	Maps     map[string]*ebpf.Map
	Programs map[string]*ebpf.Program
	Links    []Attached
	Pins     []string // what was pinned where, in the order in which it was

	object *object
	reused map[string]bool // maps that were there before
	made   []string        // pins and directories, to be undone
}

// Load loads an object as a whole or not at all.
func Load(ctx context.Context, o Options) (_ *Loaded, err error) {
	obj, err := open(o.Object)
	if err != nil {
		return nil, err
	}
	if err := obj.setGlobals(o.Set); err != nil {
		return nil, err
	}
	dir := ""
	if o.Pin != "" {
		if dir, err = freePin(o.Pin); err != nil {
			return nil, err
		}
	}
	l := &Loaded{object: obj, reused: make(map[string]bool)}
	defer func() {
		if err != nil {
			l.undo()
		}
	}()
	if err := l.load(&o); err != nil {
		return nil, err
	}
	if o.Attach {
		if err := l.attach(ctx, &o.Where); err != nil {
			return nil, err
		}
	}
	if dir != "" {
		if err := l.pin(ctx, dir); err != nil {
			return nil, err
		}
	}
	return l, ctx.Err()
}

// load creates the maps and loads the programs.
func (l *Loaded) load(o *Options) error {
	types, err := l.object.kernelTypes(o.BTF)
	if err != nil {
		return err
	}
	replace, err := l.reuse(o.Maps)
	if err != nil {
		return err
	}
	defer closeMaps(replace)
	opts := ebpf.CollectionOptions{MapReplacements: replace}
	opts.Maps.PinPath = bpffs
	opts.Programs.KernelTypes = types
	if o.Verbose {
		opts.Programs.LogLevel = ebpf.LogLevelBranch | ebpf.LogLevelStats
	}
	byName := l.sharedPins()
	c, err := ebpf.NewCollectionWithOptions(l.object.spec, opts)
	for _, p := range byName {
		if _, e := os.Lstat(p); e == nil {
			l.made = append(l.made, p)
		}
	}
	if err != nil {
		return l.object.explain(err, o.LogLines)
	}
	l.Maps, l.Programs = c.Maps, c.Programs
	return nil
}

// reuse opens the maps that the user names.
func (l *Loaded) reuse(pins map[string]string) (map[string]*ebpf.Map, error) {
	replace := make(map[string]*ebpf.Map, len(pins))
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		m, err := l.reuseOne(name, pins[name])
		if err != nil {
			closeMaps(replace)
			return nil, err
		}
		replace[name], l.reused[name] = m, true
	}
	return replace, nil
}

func (l *Loaded) reuseOne(name, pinned string) (*ebpf.Map, error) {
	spec := l.object.spec.Maps[name]
	if spec == nil {
		return nil, fmt.Errorf("%s has no map %q%s", l.object.path, name, among(l.object.spec.Maps))
	}
	path, err := PinPath(pinned)
	if err != nil {
		return nil, err
	}
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return nil, fmt.Errorf("--map %s=%s: %s on the target: %w", name, pinned, path, errors.Unwrap(errors.Unwrap(fmt.Errorf("%w", err))))
	}
	return m, nil
}

func closeMaps(list map[string]*ebpf.Map) {
	for _, m := range list {
		m.Close()
	}
}

// sharedPins returns where maps that are pinned by name will appear, if they
// are not there yet.
func (l *Loaded) sharedPins() []string {
	var list []string
	for name, m := range l.object.spec.Maps {
		if m.Pinning != ebpf.PinByName {
			continue
		}
		p := filepath.Join(bpffs, m.Name)
		if _, err := os.Lstat(p); err == nil {
			l.reused[name] = true
			continue
		}
		list = append(list, p)
	}
	return list
}

// attach attaches each program and each struct_ops map.
func (l *Loaded) attach(ctx context.Context, w *Where) error {
	for _, name := range slices.Sorted(maps.Keys(l.Programs)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		spec := l.object.spec.Programs[name]
		if spec.Type == ebpf.StructOps {
			continue // its map is what is attached
		}
		list, err := w.attach(spec, l.Programs[name])
		l.Links = append(l.Links, list...)
		if err != nil {
			return fmt.Errorf("program %s (%s): %w", name, spec.SectionName, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Maps)) {
		if l.Maps[name].Type() != ebpf.StructOpsMap {
			continue
		}
		k, err := link.AttachStructOps(link.StructOpsOptions{Map: l.Maps[name]})
		if err != nil {
			return fmt.Errorf("struct_ops map %s cannot be registered on the target: %w", name, err)
		}
		l.Links = append(l.Links, Attached{Name: name, Where: "struct_ops", Link: k})
	}
	return nil
}

// Directories of what is pinned.
const (
	progsDir = "progs"
	mapsDir  = "maps"
	linksDir = "links"
)

// freePin returns the path to pin below, if nothing is in the way.
func freePin(dir string) (string, error) {
	path, err := PinPath(dir)
	if err != nil {
		return "", err
	}
	if err := checkBPFFS(); err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s exists on the target already: give another --pin, or remove it with bpfctl unload", path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if _, err := os.Lstat(filepath.Dir(path)); err != nil {
		return "", fmt.Errorf("%s does not exist on the target: make it first, or pin to a directory that exists", filepath.Dir(path))
	}
	return path, nil
}

// checkBPFFS says whether a bpf file system is where it belongs.
func checkBPFFS() error {
	var st unix.Statfs_t
	err := unix.Statfs(bpffs, &st)
	if err == nil && uint32(st.Type) == unix.BPF_FS_MAGIC {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s on the target: %w", bpffs, err)
	}
	return fmt.Errorf("the target has no bpf file system at %s, and bpfd could not mount one: run there, as root, mount -t bpf bpf %s", bpffs, bpffs)
}

// pinner is what can be pinned.
type pinner interface{ Pin(string) error }

// pin pins everything below dir, the links last.
func (l *Loaded) pin(ctx context.Context, dir string) error {
	if err := l.mkdir(dir); err != nil {
		return err
	}
	list := make(map[string]pinner)
	for name, m := range l.Maps {
		if !l.reused[name] && l.object.spec.Maps[name].Pinning != ebpf.PinByName {
			list[filepath.Join(mapsDir, pinName(name))] = m
		}
	}
	for name, p := range l.Programs {
		list[filepath.Join(progsDir, pinName(name))] = p
	}
	if err := l.pinAll(ctx, dir, list); err != nil {
		return err
	}
	list = make(map[string]pinner)
	for _, a := range l.Links {
		if a.stays {
			continue
		}
		list[filepath.Join(linksDir, pinName(a.Name))] = a.Link
	}
	return l.pinAll(ctx, dir, list)
}

func (l *Loaded) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("%s cannot be made on the target: %w", dir, errors.Unwrap(err))
	}
	l.made = append(l.made, dir)
	return nil
}

// pinAll pins a list in the order of its names.
func (l *Loaded) pinAll(ctx context.Context, dir string, list map[string]pinner) error {
	last := ""
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if sub := filepath.Dir(name); sub != last {
			if err := l.mkdir(filepath.Join(dir, sub)); err != nil {
				return err
			}
			last = sub
		}
		path := filepath.Join(dir, name)
		if err := list[name].Pin(path); errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("the target's kernel cannot keep %s attached without its loader: for kprobes, uprobes, tracepoints and perf events that takes Linux 5.15, for others 5.7; load without --pin, and it stays until Ctrl-C", filepath.Base(name))
		} else if err != nil {
			return fmt.Errorf("%s cannot be pinned on the target: %w", path, err)
		}
		l.made = append(l.made, path)
		l.Pins = append(l.Pins, path)
	}
	return nil
}

// undo removes what was made: pins in the opposite order, then the objects.
func (l *Loaded) undo() {
	for _, p := range slices.Backward(l.made) {
		os.Remove(p)
	}
	for _, a := range l.Links {
		if a.Link != nil {
			a.Link.Close()
		}
	}
	l.release()
}

// Close lets go of everything; links that are pinned nowhere are gone with it,
// except those that stay by themselves.
func (l *Loaded) Close() {
	for _, a := range l.Links {
		if !a.stays || len(l.Pins) == 0 {
			a.Link.Close()
		}
	}
	l.release()
}

func (l *Loaded) release() {
	closeMaps(l.Maps)
	for _, p := range l.Programs {
		p.Close()
	}
}
