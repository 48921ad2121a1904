package loader

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// scripted is a script to be, of an object that was never in a file.
func scripted(release string, absent bool, spec *ebpf.CollectionSpec) *Script {
	for name, m := range spec.Maps {
		m.Name = name
	}
	return &Script{object: &object{path: "prog.o", spec: spec}, kernel: Kernel{Release: release, Absent: absent},
		where: &Where{Frequency: 99}, next: firstNumber, maps: make(map[string]int), progs: make(map[string]int)}
}

// write does the steps of WriteScript.
func (s *Script) write() error {
	for _, step := range []func() error{s.createMaps, s.fillMaps, s.openBuffers, s.loadPrograms, s.fillProgramArrays, s.attachPrograms} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// returning is a program that calls a function and refers to a map.
func returning(fn asm.BuiltinFunc, m string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(m),
		fn.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}
}

// The maps come first, by name, then programs, which refer to them by number.
func TestScriptText(t *testing.T) {
	spec := func() *ebpf.CollectionSpec {
		return &ebpf.CollectionSpec{
			Maps: map[string]*ebpf.MapSpec{
				".data":  {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Contents: []ebpf.MapKV{{Key: uint32(0), Value: []byte{7, 0, 0, 0}}}},
				"counts": {Type: ebpf.Hash, KeySize: 8, ValueSize: 16, MaxEntries: 100, Flags: 1},
				"tails":  {Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2, Contents: []ebpf.MapKV{{Key: uint32(1), Value: "exit"}}},
			},
			Programs: map[string]*ebpf.ProgramSpec{
				"enter": {Type: ebpf.Kprobe, SectionName: "kprobe/vfs_read+16", AttachTo: "vfs_read+16", License: "Dual MIT/GPL", Instructions: returning(asm.FnProbeReadKernel, "counts")},
				"exit":  {Type: ebpf.Kprobe, SectionName: "kretprobe/vfs_read", AttachTo: "vfs_read", License: "GPL", Instructions: returning(asm.FnGetCurrentPidTgid, "counts")},
				"exec":  {Type: ebpf.TracePoint, SectionName: "tp/sched/sched_process_exec", AttachTo: "sched/sched_process_exec", License: "Apache 2", Instructions: returning(asm.FnKtimeGetNs, ".data")},
			},
		}
	}
	for release, helper := range map[string]asm.BuiltinFunc{"5.4.61-android": asm.FnProbeRead, "5.5.0": asm.FnProbeReadKernel, "6.12.9-amd64": asm.FnProbeReadKernel} {
		s := scripted(release, true, spec())
		if err := s.write(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(s.Text), "\n"), "\n")
		var programs [][]byte
		for i, line := range lines {
			if f := strings.Fields(line); f[0] == "BPF_PROG_LOAD" {
				b, err := base64.StdEncoding.DecodeString(f[6])
				if err != nil || fmt.Sprint(len(b)) != f[3] {
					t.Errorf("%s: %v", line, err)
				}
				programs = append(programs, b)
				lines[i] = strings.Join(f[:5], " ")
			}
		}
		want := []string{
			"BPF_CREATE_MAP 1 counts 8 16 100 1",
			"BPF_CREATE_MAP 3 tails 4 4 2 0",
			"BPF_CREATE_MAP 2 .data 4 4 1 0",
			"BPF_UPDATE_ELEM 5 AAAAAA== 4 BwAAAA== 4 0",
			"BPF_PROG_LOAD 2 enter 40 GPL", "BPF_PROG_LOAD 5 exec 40 Apache_2", "BPF_PROG_LOAD 2 exit 40 GPL",
			"BPF_UPDATE_ELEM 4 AQAAAA== 4 CAAAAA== 4 0",
			"BPF_ATTACH_KPROBE 6 0 p_bpfctl_6 vfs_read 16 0", "BPF_ATTACH_TRACEPOINT 7 sched sched_process_exec", "BPF_ATTACH_KPROBE 8 1 r_bpfctl_8 vfs_read",
		}
		if got, want := strings.Join(lines, "\n"), strings.Join(want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", release, got, want)
		}
		// The map's number is where its descriptor would be, marked as one.
		for i, number := range []uint32{3, 5, 3} {
			if p := programs[i]; p[1]>>4 != 1 || binary.LittleEndian.Uint32(p[4:]) != number {
				t.Errorf("program %d refers to % x, not to %d", i, p[:8], number)
			}
		}
		if call := binary.LittleEndian.Uint32(programs[0][20:]); call != uint32(helper) {
			t.Errorf("for %s it calls %d, not %d", release, call, helper)
		}
	}
}

// What a text session cannot do is said, with the name of the object.
func TestScriptImpossible(t *testing.T) {
	program := func(kind ebpf.ProgramType, section, attach string, insns ...asm.Instruction) *ebpf.CollectionSpec {
		return &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"p": {Type: kind, SectionName: section, AttachTo: attach, License: "GPL", Instructions: insns}}}
	}
	maps := func(m *ebpf.MapSpec) *ebpf.CollectionSpec {
		return &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{"m": m}}
	}
	kprobe := func(insns ...asm.Instruction) *ebpf.CollectionSpec {
		return program(ebpf.Kprobe, "kprobe/f", "f", insns...)
	}
	for _, c := range []struct {
		name string
		spec *ebpf.CollectionSpec
		want string
	}{
		{"storage", maps(&ebpf.MapSpec{Type: ebpf.TaskStorage}), "map m: the text protocol cannot create maps of type task_storage"},
		{"maps in maps", maps(&ebpf.MapSpec{Type: ebpf.HashOfMaps}), "cannot create maps of type hash_of_maps"},
		{"contents", maps(&ebpf.MapSpec{Type: ebpf.Hash, Contents: []ebpf.MapKV{{Key: uint32(1), Value: uint32(2)}}}), "map m: the text protocol cannot store what it holds"},
		{"processors", maps(&ebpf.MapSpec{Type: ebpf.PerfEventArray}), "the target's CPUs must be asked for"},
		{"no such program", maps(&ebpf.MapSpec{Type: ebpf.ProgramArray, Contents: []ebpf.MapKV{{Key: uint32(0), Value: "none"}}}), "map m: entry 0 is no program of prog.o"},
		{"a program of another kind", program(ebpf.XDP, "xdp", ""), "program p (xdp): the text protocol attaches kprobes"},
		{"a multi-probe", program(ebpf.Kprobe, "kprobe.multi/f*", "f*"), "program p (kprobe.multi/f*): the text protocol attaches kprobes"},
		{"no group", program(ebpf.TracePoint, "tp/exec", "exec", asm.Return()), "a tracepoint's section is named tracepoint/GROUP/NAME"},
		{"no symbol", program(ebpf.Kprobe, "uprobe/sh", "sh", asm.Return()), "its section names no symbol"},
		{"a place in a file", program(ebpf.Kprobe, "uprobe/sh:main", "sh:main", asm.Return()), "the place of a symbol in the target's sh must be asked for"},
		{"sampling", program(ebpf.PerfEvent, "perf_event", "", asm.Return()), "the target's CPUs must be asked for"},
		{"no such map", kprobe(asm.LoadMapPtr(asm.R1, 0).WithReference(".kconfig"), asm.Return()), "program p: it has variables that the kernel's configuration or symbols fill in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := scripted("6.1.0", true, c.spec).write()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
	globals := &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{".bss": {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}}}
	for release, ok := range map[string]bool{"4.19.113-perf": false, "5.1.21": false, "5.2.0": true, "6.0": true} {
		if err := scripted(release, true, globals).write(); (err == nil) != ok {
			t.Errorf("global variables for %s: %v", release, err)
		}
	}
}

func TestVersionCode(t *testing.T) {
	for release, want := range map[string]uint32{"4.14.186-perf": 4<<16 | 14<<8 | 186, "4.9.337": 4<<16 | 9<<8 | 255, "6.1": 6<<16 | 1<<8, "": 0} {
		if got := scripted(release, true, &ebpf.CollectionSpec{}).versionCode(); got != want {
			t.Errorf("%q: %#x, want %#x", release, got, want)
		}
	}
}

// A script is saved as a whole, with a mode that others can read, or not at all.
func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script.txt")
	s := &Script{Text: []byte("BPF_CREATE_MAP 1 m 4 4 1 0\n")}
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	b, readErr := os.ReadFile(path)
	if err != nil || readErr != nil || st.Mode().Perm() != 0o644 || !bytes.Equal(b, s.Text) {
		t.Errorf("%v, %v, %v, %q", err, readErr, st, b)
	}
	if err := s.Save(filepath.Join(path, "x")); err == nil || !strings.HasPrefix(err.Error(), path+"/x: ") {
		t.Errorf("%v", err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("files were left: %v", list)
	}
}
