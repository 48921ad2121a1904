package loader

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
)

// record is what a ring or perf buffer carried.
type record struct {
	cpu  int // -1: a ring buffer's
	data []byte
	lost uint64 // records that did not fit into a perf buffer
}

// source is a buffer that is read.
type source struct {
	name   string   // of its map
	record btf.Type // what it carries, nil if that is not known
	read   func() (record, error)
	close  func() error
}

// perfPages is the size of a CPU's perf buffer.
const perfPages = 64

func openSource(m *ebpf.Map) (*source, error) {
	if m.Type() == ebpf.RingBuf {
		r, err := ringbuf.NewReader(m)
		if err != nil {
			return nil, err
		}
		read := func() (record, error) {
			rec, err := r.Read()
			return record{cpu: -1, data: rec.RawSample}, err
		}
		return &source{read: read, close: r.Close}, nil
	}
	r, err := perf.NewReader(m, perfPages*os.Getpagesize())
	if err != nil {
		return nil, err
	}
	read := func() (record, error) {
		rec, err := r.Read()
		return record{cpu: rec.CPU, data: rec.RawSample, lost: rec.LostSamples}, err
	}
	return &source{read: read, close: r.Close}, nil
}

// EventOptions say how to print what ring and perf buffers carry.
type EventOptions struct {
	JSON  bool
	Types map[string]string // by map: the struct that its records are; "" for all other maps
	Out   io.Writer
	Lost  func(name string, n uint64) // told of records that were lost
}

// Printer prints what the ring and perf buffers of an object carry.
type Printer struct {
	opts    EventOptions
	sources []*source

	mu  sync.Mutex // held while writing
	buf []byte     // guarded by mu
}

// Printer opens the buffers: what arrives from now on will be printed.
func (l *Loaded) Printer(o EventOptions) (_ *Printer, err error) {
	p := &Printer{opts: o}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	types, err := l.eventTypes(o)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(l.Maps)) {
		if !carriesEvents(l.Maps[name].Type()) {
			continue
		}
		s, err := openSource(l.Maps[name])
		if err != nil {
			return nil, fmt.Errorf("map %s cannot be read: %w", name, err)
		}
		s.name, s.record = name, types[name]
		p.sources = append(p.sources, s)
	}
	return p, nil
}

func (p *Printer) close() {
	for _, s := range p.sources {
		s.close()
	}
}

// Run prints until ctx ends, and closes the buffers.
func (p *Printer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer p.close()
	failed := make(chan error, len(p.sources))
	for _, s := range p.sources {
		running.Go(func() {
			if err := p.drain(s); err != nil {
				failed <- err
			}
		})
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// eventTypes finds what the records of each map are: what the user says, what
// the definition of the map says, or else struct event.
func (l *Loaded) eventTypes(o EventOptions) (map[string]btf.Type, error) {
	types := make(map[string]btf.Type)
	for name := range o.Types {
		if name != "" && (l.Maps[name] == nil || !carriesEvents(l.Maps[name].Type())) {
			return nil, fmt.Errorf("%s has no ring or perf buffer %q", l.object.path, name)
		}
	}
	for name, m := range l.Maps {
		if !carriesEvents(m.Type()) {
			continue
		}
		wanted, ok := o.Types[name]
		if !ok {
			wanted, ok = o.Types[""]
		}
		if ok {
			t, err := l.object.structNamed(wanted)
			if err != nil {
				return nil, err
			}
			types[name] = t
			continue
		}
		if types[name] = l.object.events[name]; types[name] == nil {
			if t, err := l.object.structNamed("event"); err == nil {
				types[name] = t
			}
		}
	}
	return types, nil
}

// structNamed finds a type in the object's BTF.
func (o *object) structNamed(name string) (btf.Type, error) {
	name = strings.TrimPrefix(name, "struct ")
	if o.spec.Types == nil {
		return nil, fmt.Errorf("%s has no BTF: compile it with -g", o.path)
	}
	list, err := o.spec.Types.AnyTypesByName(name)
	if err == nil {
		for _, t := range list {
			if _, ok := btf.As[*btf.Struct](t); ok {
				return t, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no struct %s in its BTF; one that is used nowhere is left out by clang: declare a global \"struct %s *unused __attribute__((unused));\"", o.path, name, name)
}

// drain prints the records of a buffer until it is closed.
func (p *Printer) drain(s *source) error {
	for {
		r, err := s.read()
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("map %s cannot be read: %w", s.name, err)
		case r.lost > 0:
			p.opts.Lost(s.name, r.lost)
			continue
		}
		if err := p.print(s, r); err != nil {
			return err
		}
	}
}

func (p *Printer) print(s *source, r record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.JSON {
		p.buf = appendRecord(p.buf[:0], s.name, s.record, r)
	} else {
		p.buf = appendDump(p.buf[:0], s.name, r)
	}
	_, err := p.opts.Out.Write(p.buf)
	return err
}

// appendRecord appends a record as a line of JSON. What has no type is given
// in hexadecimal.
func appendRecord(b []byte, name string, t btf.Type, r record) []byte {
	b = fmt.Appendf(b, `{"map":%q`, name)
	if r.cpu >= 0 {
		b = fmt.Appendf(b, `,"cpu":%d`, r.cpu)
	}
	if t == nil {
		return fmt.Appendf(b, `,"data":"%x"}`+"\n", r.data)
	}
	b = append(b, `,"event":`...)
	return append(appendJSON(b, t, r.data), '}', '\n')
}

// appendDump appends a record as hexdump -C shows it, below a line that says
// where it comes from.
func appendDump(b []byte, name string, r record) []byte {
	b = fmt.Appendf(b, "%s: %d bytes", name, len(r.data))
	if r.cpu >= 0 {
		b = fmt.Appendf(b, ", CPU %d", r.cpu)
	}
	b = append(b, '\n')
	for line := range strings.Lines(hex.Dump(r.data)) {
		b = append(append(b, "  "...), line...)
	}
	return b
}

// PrintIterators runs each iterator program once and copies what it writes.
func (l *Loaded) PrintIterators(w io.Writer) error {
	for _, a := range l.Links {
		it, ok := a.Link.(*link.Iter)
		if !ok {
			continue
		}
		r, err := it.Open()
		if err == nil {
			// read(2) is what reaches the target, splice(2) does not.
			_, err = io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{r})
			r.Close()
		}
		if err != nil {
			return fmt.Errorf("iterator %s: %w", a.Name, err)
		}
	}
	return nil
}
