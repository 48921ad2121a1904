package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// pageCount is the size of a perf buffer in a text session, in pages.
const pageCount = 64

// needBTF are the types of maps that take BTF or a descriptor at creation,
// which a text session cannot give.
var needBTF = []ebpf.MapType{ebpf.StructOpsMap, ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CgroupStorage,
	ebpf.ArrayOfMaps, ebpf.HashOfMaps}

// inOrder is the maps that the program declares, then those of its variables.
func (s *Script) inOrder() []string {
	return slices.SortedFunc(maps.Keys(s.object.spec.Maps), func(a, b string) int {
		if x, y := strings.HasPrefix(a, "."), strings.HasPrefix(b, "."); x != y {
			return map[bool]int{false: -1, true: 1}[x]
		}
		return strings.Compare(a, b)
	})
}

func (s *Script) createMaps() error {
	for _, name := range s.inOrder() {
		m := s.object.spec.Maps[name]
		if slices.Contains(needBTF, m.Type) {
			return fmt.Errorf("map %s: the text protocol cannot create maps of type %s", name, mapType(m.Type))
		}
		if strings.HasPrefix(name, ".") && s.before(5, 2) {
			return fmt.Errorf("%s has global variables (%s), which take Linux 5.2; the target runs %s", s.object.path, name, s.kernel.Release)
		}
		entries := m.MaxEntries
		if m.Type == ebpf.PerfEventArray && entries == 0 {
			cpus, err := s.cpus()
			if err != nil {
				return err
			}
			entries = uint32(cpus[len(cpus)-1] + 1)
		}
		s.maps[name] = s.number("map", name, readCommand(m))
		s.line("BPF_CREATE_MAP", uint32(m.Type), textName(m.Name), m.KeySize, m.ValueSize, entries, m.Flags)
	}
	return nil
}

// readCommand is the command that prints a map's entries.
func readCommand(m *ebpf.MapSpec) string {
	switch m.Type {
	case ebpf.Hash, ebpf.Array, ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie:
		return fmt.Sprintf("BPF_GET_FIRST_KEY # %d %d 1", m.KeySize, m.ValueSize)
	}
	return ""
}

// update appends the command that stores an entry.
func (s *Script) update(number int, key, value []byte) {
	s.line("BPF_UPDATE_ELEM", number, base64Of(key), len(key), base64Of(value), len(value), 0)
}

// fillMaps stores what maps hold from the start: the values of global variables.
func (s *Script) fillMaps() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Maps)) {
		m := s.object.spec.Maps[name]
		if m.Type == ebpf.ProgramArray {
			continue
		}
		data, err := s.dataOf(name, m)
		if err != nil {
			return err
		}
		if len(bytes.Trim(data, "\x00")) > 0 {
			s.update(s.maps[name], make([]byte, 4), data)
		}
	}
	return nil
}

// dataOf assembles a section of global variables.
func (s *Script) dataOf(name string, m *ebpf.MapSpec) ([]byte, error) {
	if len(m.Contents) == 0 {
		return nil, nil
	}
	first, ok := m.Contents[0].Value.([]byte)
	if !ok || len(m.Contents) != 1 {
		return nil, fmt.Errorf("map %s: the text protocol cannot store what it holds from the start", name)
	}
	data := bytes.Clone(first)
	for _, v := range s.object.spec.Variables {
		if v.SectionName == name && int(v.Offset)+len(v.Value) <= len(data) {
			copy(data[v.Offset:], v.Value)
		}
	}
	return data, nil
}

// openBuffers opens a perf buffer for each CPU and puts it into the perf arrays.
func (s *Script) openBuffers() error {
	for _, name := range slices.Sorted(maps.Keys(s.object.spec.Maps)) {
		if s.object.spec.Maps[name].Type != ebpf.PerfEventArray {
			continue
		}
		cpus, err := s.cpus()
		if err != nil {
			return err
		}
		for _, cpu := range cpus {
			n := s.number("perf buffer", fmt.Sprintf("%s of CPU %d", name, cpu), "PERF_READER_POLL 1000 1 #")
			s.line("BPF_OPEN_PERF_BUFFER", -1, cpu, pageCount)
			s.update(s.maps[name], word(cpu), word(n))
		}
	}
	return nil
}

// word is a native integer of a little-endian machine.
func word(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
