package main

import (
	"fmt"
	"io"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

func init() {
	cases["iterator"] = iterator
	cases["iterator-big"] = iteratorBig
}

// marked makes maps which the iterators below tell from all others.
func marked(n int) uint32 {
	mark := uint32(0x0bfd0000 + os.Getpid()&0xffff)
	for range n {
		_, err := tryMap(unix.BPF_MAP_TYPE_LPM_TRIE, 8, 8, mark, 1)
		check("BPF_MAP_CREATE", err)
	}
	return mark
}

// iterate opens an iterator over maps which writes 512 times A for each map
// with that many entries, times over.
func iterate(mark uint32, times int) *os.File {
	spec, err := btf.LoadKernelSpec()
	check("this kernel's BTF", err)
	var m *btf.Struct
	check("struct bpf_map", spec.TypeByName("bpf_map", &m))
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R7, asm.R1),
		asm.LoadMem(asm.R2, asm.R7, 8, asm.DWord), // map
		asm.JEq.Imm(asm.R2, 0, "out"),
		asm.LoadMem(asm.R3, asm.R2, int16(entriesOffset(m)), asm.Word),
		asm.JNE.Imm(asm.R3, int32(mark), "out"),
		asm.LoadMem(asm.R6, asm.R7, 0, asm.DWord), // meta
		asm.LoadMem(asm.R6, asm.R6, 0, asm.DWord), // seq
	}
	for off := int16(-512); off < 0; off += 8 {
		insns = append(insns, asm.StoreImm(asm.RFP, off, 0x41414141, asm.Word), asm.StoreImm(asm.RFP, off+4, 0x41414141, asm.Word))
	}
	for range times {
		insns = append(insns, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -512),
			asm.Mov.Imm(asm.R3, 512), asm.FnSeqWrite.Call())
	}
	insns = append(insns, asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "bpf_map", License: "GPL", Instructions: insns,
	})
	check("iterator program", err)
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	check("iterator link", err)
	r, err := it.Open()
	check("iterator", err)
	return r.(*os.File)
}

func entriesOffset(m *btf.Struct) uint32 {
	for _, f := range m.Members {
		if f.Name == "max_entries" {
			return f.Offset.Bytes()
		}
	}
	return 0
}

func iterator() {
	mark := marked(0)
	r := iterate(mark, 1)
	marked(3) // are seen: the iterator runs when it is read
	small := make([]byte, 500)
	n, err := io.ReadFull(r, small)
	fmt.Println(n, err, string(small[:8]))
	fd := int(r.Fd())
	_, err = unix.Pread(fd, small, 0)
	show("pread", err)
	rest, err := io.ReadAll(r)
	fmt.Println(len(rest), err)
	n, err = r.Read(small)
	fmt.Println(n, err)
	check("close", r.Close())
}

// iteratorBig has more text than anybody wants to hold.
func iteratorBig() {
	check("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 8192, Max: 8192}))
	r := iterate(marked(2500), 60)
	n, err := io.Copy(io.Discard, r)
	fmt.Println(n, err)
}
