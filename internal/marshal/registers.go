package marshal

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"bpfd/internal/abi"

	"golang.org/x/sys/unix"
)

// A probe's program finds the registers of the probed code in its context, in
// the target's order. Which offsets it reads was fixed when it was compiled:
// one for another architecture reads other registers, and the verifier does
// not mind. So what a program reads tells for which it was made.

// registers refuses a program that looks for the registers of the host's
// architecture on a target with another one, or has it find the target's.
func (r *Request) registers(attr, code []byte) unix.Errno {
	host, target := abi.Registers[r.m.HostArch], abi.Registers[r.m.Target.Arch]
	kind := field(attr, 0)
	if host == nil || target == nil || r.m.HostArch == r.m.Target.Arch ||
		kind != unix.BPF_PROG_TYPE_KPROBE && kind != unix.BPF_PROG_TYPE_PERF_EVENT {
		return 0
	}
	reads, compiled := contextReads(code), ""
	if len(reads) > 0 {
		compiled = r.m.CompiledFor(r.mem)
	}
	for _, read := range reads {
		name, wrong := foreign(host, target, read.off, compiled == r.m.HostArch, compiled == r.m.Target.Arch)
		switch {
		case r.m.Translate && compiled != r.m.Target.Arch:
			if !r.translate(code, read) {
				r.m.warnOnce("the tool reads %s of %s in a way that cannot be translated for %s: its program was refused", name, r.m.HostArch, r.m.Target.Arch)
				return unix.EINVAL
			}
		case wrong:
			r.m.warnOnce("the tool reads %s of %s, and the target is %s: its program was refused. "+
				"What needs no registers, such as tracepoints, works there, and so do tools that compile for the target, such as bcc's in Python. "+
				"With --registers, arguments and results of functions of C are found where %[3]s has them",
				name, r.m.HostArch, r.m.Target.Arch)
			return unix.EINVAL
		}
	}
	if slices.Contains(calls(code), poisoned) {
		hint := ""
		if !r.m.Translate {
			hint = ", which --registers has it find"
		}
		r.m.warnOnce("the tool looks for a type or field which the target's kernel does not have, perhaps a register of %s%s: the target is %s",
			r.m.HostArch, hint, r.m.Target.Arch)
	}
	return 0
}

// translate has an instruction read the target's register in the place of the
// host's. What a helper reads is out of reach: its address was computed before.
func (r *Request) translate(code []byte, read contextRead) bool {
	off, ok := abi.Counterpart(r.m.HostArch, r.m.Target.Arch, read.off)
	if ok && read.direct {
		le.PutUint16(code[read.at*insnSize+2:], uint16(off))
	}
	return ok && read.direct
}

// poisoned is the helper that libbpf puts in place of an access to a field
// that the kernel does not have.
const poisoned = 0xbad2310

// foreign says whether a program that reads its context at an offset is wrong
// on the target, and what it looks for. A tool of which it is not known for
// what it compiles is wrong when the host has a register there: a register of
// the target's at the same place would be right by accident only.
func foreign(host, target map[int32]string, off int32, here, there bool) (name string, wrong bool) {
	reg, ours := host[off]
	if !ours {
		return fmt.Sprintf("the registers at offset %d", off), here
	}
	_, theirs := target[off]
	return "the register " + reg, !there || !theirs
}

// context is a register or stack slot that holds the program's context.
type context struct {
	held bool
	off  int32 // what was added to it
}

// machine is what is known of a program's registers and stack before an
// instruction.
type machine struct {
	regs  [11]context
	stack map[int16]context
}

func (m *machine) clone() *machine {
	c := &machine{regs: m.regs, stack: make(map[int16]context, len(m.stack))}
	for k, v := range m.stack {
		c.stack[k] = v
	}
	return c
}

// merge adds what is known on another way to the same instruction, and says
// whether that was new. The verifier lets no instruction read the context on
// one way and something else on another.
func (m *machine) merge(o *machine) bool {
	changed := false
	for i, v := range o.regs {
		if v.held && !m.regs[i].held {
			m.regs[i], changed = v, true
		}
	}
	for k, v := range o.stack {
		if !m.stack[k].held {
			m.stack[k], changed = v, true
		}
	}
	return changed
}

// instruction is struct bpf_insn.
type instruction struct {
	op       byte
	dst, src byte
	off      int16
	imm      int32
}

func decode(b []byte) instruction {
	return instruction{b[0], b[1] & 15, b[1] >> 4, int16(binary.LittleEndian.Uint16(b[2:])), int32(binary.LittleEndian.Uint32(b[4:]))}
}

// Parts of an opcode, include/uapi/linux/bpf_common.h and bpf.h.
const (
	classMask  = 0x07
	classLD    = 0x00
	classLDX   = 0x01
	classSTX   = 0x03
	classALU   = 0x04
	classJMP   = 0x05
	classJMP32 = 0x06
	classALU64 = 0x07
	modeMask   = 0xe0
	modeMem    = 0x60
	modeMemSX  = 0x80 // with the sign, since Linux 6.6
	opStoreDW  = 0x7b // BPF_STX | BPF_MEM | BPF_DW
	opLoadDW   = 0x79 // BPF_LDX | BPF_MEM | BPF_DW
	opMove     = 0xbf // BPF_ALU64 | BPF_MOV | BPF_X
	opAdd      = 0x07 // BPF_ALU64 | BPF_ADD | BPF_K
	opJump     = 0x05 // BPF_JMP | BPF_JA
	opJumpLong = 0x06 // BPF_JMP32 | BPF_JA
	opExit     = 0x95
	pseudoCall = 1 // BPF_PSEUDO_CALL
	framePtr   = 10
)

// reads are the helpers that read memory at the address in r3: probe_read,
// probe_read_user and probe_read_kernel.
var reads = []int32{4, 112, 113}

// flow follows the context through a program.
type flow struct {
	code   []byte
	before map[int]*machine // instruction → what is known before it
	queue  []int
	reads  map[contextRead]bool
}

// contextRead is where an instruction reads the program's context.
type contextRead struct {
	at     int   // the instruction
	off    int32 // in the context
	direct bool  // by the offset that stands in the instruction alone
}

// contextReads returns what a program reads of its context, in its order.
func contextReads(code []byte) []contextRead {
	f := &flow{code: code, before: map[int]*machine{}, reads: map[contextRead]bool{}}
	start := &machine{stack: map[int16]context{}}
	start.regs[1].held = true
	f.visit(0, start)
	for len(f.queue) > 0 {
		at := f.queue[len(f.queue)-1]
		f.queue = f.queue[:len(f.queue)-1]
		f.step(at, f.before[at].clone())
	}
	return slices.SortedFunc(maps.Keys(f.reads), func(a, b contextRead) int {
		return cmp.Or(a.at-b.at, int(a.off-b.off))
	})
}

// visit has an instruction looked at if something new is known before it.
func (f *flow) visit(at int, m *machine) {
	if at < 0 || (at+1)*insnSize > len(f.code) {
		return
	}
	known := f.before[at]
	if known == nil {
		f.before[at] = m.clone()
	} else if !known.merge(m) {
		return
	}
	f.queue = append(f.queue, at)
}

func (f *flow) read(at int, c context, off int32, direct bool) {
	if c.held {
		f.reads[contextRead{at, c.off + off, direct && c.off == 0}] = true
	}
}

// step looks at one instruction and goes on to those that may follow.
func (f *flow) step(at int, m *machine) {
	in := decode(f.code[at*insnSize:])
	if in.dst > framePtr || in.src > framePtr {
		return // the verifier refuses it
	}
	next := at + 1
	switch in.op & classMask {
	case classLD:
		m.regs[in.dst] = context{}
		if in.op == opLoadImm64 {
			next++
		}
	case classLDX:
		f.load(at, in, m)
	case classSTX:
		if in.dst == framePtr {
			delete(m.stack, in.off)
			if in.op == opStoreDW && m.regs[in.src].held {
				m.stack[in.off] = m.regs[in.src]
			}
		}
	case classALU, classALU64:
		alu(in, m)
	case classJMP, classJMP32:
		f.jump(at, in, m)
		return
	}
	f.visit(next, m)
}

func (f *flow) load(at int, in instruction, m *machine) {
	if mode := in.op & modeMask; mode == modeMem || mode == modeMemSX {
		f.read(at, m.regs[in.src], int32(in.off), true)
	}
	m.regs[in.dst] = context{}
	if in.op == opLoadDW && in.src == framePtr {
		m.regs[in.dst] = m.stack[in.off]
	}
}

func alu(in instruction, m *machine) {
	switch {
	case in.op == opMove && in.off == 0:
		m.regs[in.dst] = m.regs[in.src]
	case in.op == opAdd:
		m.regs[in.dst].off += in.imm
	default:
		m.regs[in.dst] = context{}
	}
}

// jump goes on after a jump, a call or an exit.
func (f *flow) jump(at int, in instruction, m *machine) {
	switch {
	case in.op == opExit:
		return
	case in.op == opJump:
		f.visit(at+1+int(in.off), m)
		return
	case in.op == opJumpLong:
		f.visit(at+1+int(in.imm), m)
		return
	case in.op == opCall:
		f.call(at, in, m)
	default:
		f.visit(at+1+int(in.off), m)
	}
	f.visit(at+1, m)
}

// call clobbers the registers of arguments; a function of the program gets them.
func (f *flow) call(at int, in instruction, m *machine) {
	if in.src == pseudoCall {
		callee := &machine{stack: map[int16]context{}}
		copy(callee.regs[1:6], m.regs[1:6])
		f.visit(at+1+int(in.imm), callee)
	} else if in.src == 0 && slices.Contains(reads, in.imm) {
		f.read(at, m.regs[3], 0, false)
	}
	for i := range 6 {
		m.regs[i] = context{}
	}
}

// calls returns the helpers that a program calls.
func calls(code []byte) []int32 {
	var ids []int32
	for off := 0; off+insnSize <= len(code); off += insnSize {
		in := decode(code[off:])
		if in.op == opCall && in.src == 0 {
			ids = append(ids, in.imm)
		}
		if in.op == opLoadImm64 {
			off += insnSize
		}
	}
	return ids
}
