package marshal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"bpfd/internal/abi"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func assemble(t testing.TB, ins asm.Instructions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := ins.Marshal(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// probeRead reads 8 bytes at context+off with a helper.
func probeRead(off int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Add.Imm(asm.R3, off),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 8),
		asm.FnProbeReadKernel.Call(),
		asm.Return(),
	}
}

func TestContextReads(t *testing.T) {
	for _, c := range []struct {
		name string
		ins  asm.Instructions
		want []int32
	}{
		{"none", asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, nil},
		{"direct", asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 112, asm.DWord), asm.Return()}, []int32{112}},
		{"two", asm.Instructions{
			asm.Mov.Reg(asm.R7, asm.R1),
			asm.LoadMem(asm.R6, asm.R7, 104, asm.DWord),
			asm.LoadMem(asm.R8, asm.R7, 80, asm.Word), asm.Return(),
		}, []int32{80, 104}},
		{"what was read is not the context", asm.Instructions{
			asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
			asm.LoadMem(asm.R6, asm.R6, 112, asm.DWord), asm.Return(),
		}, []int32{0}},
		{"spilled over a call", asm.Instructions{
			asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
			asm.FnKtimeGetNs.Call(),
			asm.LoadMem(asm.R6, asm.R1, 96, asm.DWord), // clobbered: nothing
			asm.LoadMem(asm.R1, asm.RFP, -16, asm.DWord),
			asm.LoadMem(asm.R6, asm.R1, 112, asm.DWord), asm.Return(),
		}, []int32{112}},
		{"by a helper", probeRead(112), []int32{112}},
		{"with the sign", asm.Instructions{asm.LoadMemSX(asm.R6, asm.R1, 112, asm.Word), asm.Return()}, []int32{112}},
		{"after a branch", asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.FnKtimeGetNs.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.LoadMem(asm.R7, asm.R6, 104, asm.DWord),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
			asm.LoadMem(asm.R7, asm.R6, 128, asm.DWord),
			asm.Return(),
		}, []int32{104, 128}},
		{"in a function of the program", asm.Instructions{
			asm.Call.Label("f"),
			asm.Return(),
			asm.LoadMem(asm.R0, asm.R1, 64, asm.DWord).WithSymbol("f"),
			asm.Return(),
		}, []int32{64}},
		{"in a loop", asm.Instructions{
			asm.Mov.Imm(asm.R2, 5),
			asm.LoadMem(asm.R0, asm.R1, 88, asm.DWord).WithSymbol("again"),
			asm.Sub.Imm(asm.R2, 1),
			asm.JNE.Imm(asm.R2, 0, "again"),
			asm.Return(),
		}, []int32{88}},
		{"behind a wide constant", asm.Instructions{
			asm.LoadImm(asm.R2, 0x1122334455667788, asm.DWord),
			asm.LoadMem(asm.R0, asm.R1, 72, asm.DWord), asm.Return(),
		}, []int32{72}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int32
			for _, read := range contextReads(assemble(t, c.ins)) {
				got = append(got, read.off)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("read at %v, want %v", got, c.want)
			}
		})
	}
}

func TestRegistersRefused(t *testing.T) {
	const here, there, unknown = "amd64", "arm64", ""
	arg1 := map[string]int16{"amd64": 112, "arm64": 0}
	for _, c := range []struct {
		target, compiled string
		kind             uint32
		off              int16
		want             unix.Errno
	}{
		{"arm64", unknown, unix.BPF_PROG_TYPE_KPROBE, arg1["amd64"], unix.EINVAL},
		{"arm64", unknown, unix.BPF_PROG_TYPE_KPROBE, 80, unix.EINVAL}, // the result
		{"arm64", unknown, unix.BPF_PROG_TYPE_KPROBE, arg1["arm64"], 0},
		{"arm64", unknown, unix.BPF_PROG_TYPE_KPROBE, 32, unix.EINVAL}, // rbp or x4
		{"arm64", there, unix.BPF_PROG_TYPE_KPROBE, 32, 0},
		{"arm64", there, unix.BPF_PROG_TYPE_KPROBE, arg1["amd64"], unix.EINVAL},
		{"arm64", here, unix.BPF_PROG_TYPE_KPROBE, arg1["arm64"], unix.EINVAL}, // r15
		{"arm64", unknown, unix.BPF_PROG_TYPE_PERF_EVENT, 128, unix.EINVAL},
		{"arm64", here, unix.BPF_PROG_TYPE_TRACEPOINT, arg1["amd64"], 0},
		{"amd64", here, unix.BPF_PROG_TYPE_KPROBE, arg1["amd64"], 0},
		{"s390x", unknown, unix.BPF_PROG_TYPE_KPROBE, arg1["amd64"], 0},
	} {
		t.Run(fmt.Sprintf("%s_%s_%d_%d", c.target, c.compiled, c.kind, c.off), func(t *testing.T) {
			warned := ""
			m := &Marshaller{HostArch: "amd64", Target: Target{Arch: c.target}, Warn: func(s string) { warned = s },
				CompiledFor: func(Memory) string { return c.compiled }}
			attr := make([]byte, 128)
			le.PutUint32(attr, c.kind)
			code := assemble(t, asm.Instructions{asm.LoadMem(asm.R0, asm.R1, c.off, asm.DWord), asm.Return()})
			r := &Request{m: m}
			if got := r.registers(attr, code); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if (warned != "") != (c.want != 0) {
				t.Errorf("warned %q", warned)
			}
		})
	}
}

// What is translated is read where the target has it; what has no counterpart
// there, or is computed, is refused.
func TestRegistersTranslated(t *testing.T) {
	load := func(off int16) asm.Instructions {
		return asm.Instructions{asm.LoadMem(asm.R0, asm.R1, off, asm.DWord), asm.Return()}
	}
	for _, c := range []struct {
		name          string
		host, target  string
		compiled      string
		before, after asm.Instructions // after is nil where the program is refused
	}{
		{"first argument", "amd64", "arm64", "", load(112), load(0)},
		{"fourth argument", "amd64", "arm64", "", load(88), load(24)},
		{"result", "amd64", "arm64", "amd64", load(80), load(0)},
		{"instruction", "amd64", "arm64", "", load(128), load(256)},
		{"for riscv64", "amd64", "riscv64", "", load(104), load(88)},
		{"seventh argument of arm64", "arm64", "riscv64", "", load(48), load(128)},
		{"seventh argument, on the stack of amd64", "arm64", "amd64", "", load(48), nil},
		{"argument or result of arm64", "arm64", "amd64", "", load(0), nil},
		{"stack pointer", "amd64", "arm64", "", load(152), nil},
		{"no register", "amd64", "arm64", "", load(4), nil},
		{"of 32 bits", "amd64", "arm", "", load(112), nil},
		{"by a helper", "amd64", "arm64", "", probeRead(112), nil},
		{"compiled for the target", "amd64", "arm64", "arm64", load(8), load(8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &Marshaller{HostArch: c.host, Target: Target{Arch: c.target}, Warn: func(string) {}, Translate: true,
				CompiledFor: func(Memory) string { return c.compiled }}
			attr := make([]byte, 128)
			le.PutUint32(attr, unix.BPF_PROG_TYPE_KPROBE)
			code := assemble(t, c.before)
			errno := (&Request{m: m}).registers(attr, code)
			if (errno == 0) != (c.after != nil) || errno == 0 && !bytes.Equal(code, assemble(t, c.after)) {
				t.Errorf("%v, % x", errno, code)
			}
		})
	}
}

// Names of one architecture's registers are not another's.
func TestRegisters(t *testing.T) {
	for arch, regs := range abi.Registers {
		seen := map[string]bool{}
		for _, name := range regs {
			if seen[name] {
				t.Errorf("%s has %s twice", arch, name)
			}
			seen[name] = true
		}
	}
}

// No program, however broken, does harm.
func FuzzContextReads(f *testing.F) {
	f.Add(assemble(f, probeRead(112)))
	f.Fuzz(func(t *testing.T, code []byte) { contextReads(code) })
}
