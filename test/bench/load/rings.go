package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
)

const (
	recordSize = 24 // bytes
	// idle is how long a ring has been empty when all is over.
	idle = time.Second
	// patience is how long the first record may take.
	patience = 20 * time.Second
)

// ring is a BPF ring buffer or a perf buffer.
type ring interface {
	SetDeadline(time.Time)
	Close() error
	next() (lost uint64, err error) // waits for a record
}

type bpfRing struct {
	*ringbuf.Reader
	record ringbuf.Record
}

func (r *bpfRing) next() (uint64, error) { return 0, r.ReadInto(&r.record) }

type perfBuffer struct {
	*perf.Reader
	record perf.Record
}

func (r *perfBuffer) next() (uint64, error) {
	err := r.ReadInto(&r.record)
	return r.record.LostSamples, err
}

func ringBuffer(size int) error {
	events, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(size)})
	if err != nil {
		return err
	}
	r, err := ringbuf.NewReader(events)
	if err != nil {
		return err
	}
	return count(&bpfRing{Reader: r}, asm.Instructions{
		asm.LoadMapPtr(asm.R1, events.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -recordSize),
		asm.Mov.Imm(asm.R3, recordSize), asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
	})
}

func perfEvents(size int) error {
	events, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerfEventArray})
	if err != nil {
		return err
	}
	r, err := perf.NewReader(events, size)
	if err != nil {
		return err
	}
	return count(&perfBuffer{Reader: r}, asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, events.FD()),
		asm.LoadImm(asm.R3, 0xffffffff, asm.DWord), // BPF_F_CURRENT_CPU
		asm.Mov.Reg(asm.R4, asm.RFP), asm.Add.Imm(asm.R4, -recordSize),
		asm.Mov.Imm(asm.R5, recordSize),
		asm.FnPerfEventOutput.Call(),
	})
}

// count prints how many records came and how many were lost, by the ring's
// word or that of the program, which counts what output refuses.
func count(r ring, output asm.Instructions) error {
	defer r.Close()
	refused, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return err
	}
	l, err := attach(output, refused)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintln(os.Stderr, "ready")
	received, lost, err := drain(r)
	if err != nil {
		return err
	}
	var perCPU []uint64
	if err := refused.Lookup(uint32(0), &perCPU); err != nil {
		return err
	}
	for _, n := range perCPU {
		// A perf buffer says of most itself.
		lost = max(lost, n)
	}
	fmt.Println(received, lost)
	return nil
}

func drain(r ring) (received, lost uint64, err error) {
	r.SetDeadline(time.Now().Add(patience))
	for n := 0; ; n++ {
		missed, err := r.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return received, lost, nil
		case err != nil:
			return received, lost, err
		case missed > 0:
			lost += missed
		default:
			received++
		}
		if n%1024 == 0 {
			r.SetDeadline(time.Now().Add(idle))
		}
	}
}

// attach runs output at every getpgid(2) and counts its failures.
func attach(output asm.Instructions, refused *ebpf.Map) (link.Link, error) {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord), asm.StoreMem(asm.RFP, -24, asm.R1, asm.DWord),
	}
	code = append(code, output...)
	code = append(code,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, refused.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.TracePoint, License: "GPL", Instructions: code})
	if err != nil {
		return nil, err
	}
	return link.Tracepoint("syscalls", "sys_enter_getpgid", prog, nil)
}
