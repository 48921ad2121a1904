package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
)

// patience is how long an event may take.
const patience = 30 * time.Second

// counter returns instructions that add one to m's first value, and leave the
// sum in R6; m is an array of 8-byte values.
func counter(m *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "exit"),
		asm.LoadMem(asm.R6, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R6, 1),
		asm.StoreMem(asm.R0, 0, asm.R6, asm.DWord),
	}
}

// exit is how programs end.
var exit = asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"), asm.Return()}

func program(t ebpf.ProgramType, parts ...asm.Instructions) (*ebpf.Program, error) {
	spec := &ebpf.ProgramSpec{Name: "suite", Type: t, License: "GPL"}
	for _, p := range parts {
		spec.Instructions = append(spec.Instructions, p...)
	}
	return ebpf.NewProgram(spec)
}

func counts() (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
}

// runs is how often a program that writes events is run.
const runs = 5

// emit runs a socket filter, which counts its runs and then does what output
// says with the sum at the stack's end; its context is in R7.
func emit(output asm.Instructions) error {
	m, err := counts()
	if err != nil {
		return err
	}
	defer m.Close()
	p, err := program(ebpf.SocketFilter, asm.Instructions{asm.Mov.Reg(asm.R7, asm.R1)}, counter(m),
		asm.Instructions{asm.StoreMem(asm.RFP, -16, asm.R6, asm.DWord)}, output, exit)
	if err != nil {
		return err
	}
	defer p.Close()
	for range runs {
		if _, _, err := p.Test(make([]byte, 64)); err != nil {
			return err
		}
	}
	return nil
}

func ringBuffer() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 1 << 16})
	if err != nil {
		return err
	}
	defer m.Close()
	r, err := ringbuf.NewReader(m)
	if err != nil {
		return err
	}
	defer r.Close()
	err = emit(asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -16),
		asm.Mov.Imm(asm.R3, 8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
	})
	if err != nil {
		return err
	}
	r.SetDeadline(time.Now().Add(patience))
	for range runs {
		record, err := r.Read()
		if err != nil {
			return err
		}
		fmt.Println("record", binary.NativeEndian.Uint64(record.RawSample))
	}
	return nil
}

func perfBuffer() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerfEventArray})
	if err != nil {
		return err
	}
	defer m.Close()
	r, err := perf.NewReader(m, os.Getpagesize())
	if err != nil {
		return err
	}
	defer r.Close()
	err = emit(asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.LoadMapPtr(asm.R2, m.FD()),
		asm.LoadImm(asm.R3, 0xffffffff, asm.DWord), // BPF_F_CURRENT_CPU
		asm.Mov.Reg(asm.R4, asm.RFP),
		asm.Add.Imm(asm.R4, -16),
		asm.Mov.Imm(asm.R5, 8),
		asm.FnPerfEventOutput.Call(),
	})
	if err != nil {
		return err
	}
	r.SetDeadline(time.Now().Add(patience))
	sum := uint64(0) // the runs may be on several CPUs, whose rings have no order
	for range runs {
		record, err := r.Read()
		if err != nil {
			return err
		}
		if record.LostSamples > 0 {
			return fmt.Errorf("%d records were lost", record.LostSamples)
		}
		sum += binary.NativeEndian.Uint64(record.RawSample)
	}
	fmt.Println(runs, "records, sum", sum)
	return nil
}

// links attaches programs in several ways, waits until each has run, and
// detaches them.
func links() error {
	for _, way := range []struct {
		name   string
		t      ebpf.ProgramType
		attach func(*ebpf.Program) (link.Link, error)
	}{
		{"tracepoint", ebpf.TracePoint, func(p *ebpf.Program) (link.Link, error) {
			return link.Tracepoint("sched", "sched_switch", p, nil)
		}},
		{"raw tracepoint", ebpf.RawTracepoint, func(p *ebpf.Program) (link.Link, error) {
			return link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sched_switch", Program: p})
		}},
		{"uprobe", ebpf.Kprobe, func(p *ebpf.Program) (link.Link, error) {
			exe, err := link.OpenExecutable("/bin/bash")
			if err != nil {
				return nil, err
			}
			return exe.Uprobe("readline", p, nil)
		}},
	} {
		if err := count(way.t, way.attach); err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		fmt.Println(way.name, "has run")
	}
	return nil
}

// count returns when an attached program has run.
func count(t ebpf.ProgramType, attach func(*ebpf.Program) (link.Link, error)) error {
	m, err := counts()
	if err != nil {
		return err
	}
	defer m.Close()
	p, err := program(t, counter(m), exit)
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := attach(p)
	if err != nil {
		return err
	}
	defer l.Close()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var n uint64
		if err := m.Lookup(uint32(0), &n); err != nil {
			return err
		}
		if n > 0 {
			return l.Close()
		}
	}
	return fmt.Errorf("did not run in %v", patience)
}

// iterator reads an iterator over maps, whose program is in an object file.
func iterator() error {
	m, err := filled("iterated", ebpf.Array, 4)
	if err != nil {
		return err
	}
	defer m.Close()
	spec, err := ebpf.LoadCollectionSpec(os.Args[2])
	if err != nil {
		return err
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := link.AttachIter(link.IterOptions{Program: c.Programs["maps"]})
	if err != nil {
		return err
	}
	defer l.Close()
	r, err := l.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	os.Stdout.Write(b)
	return err
}
