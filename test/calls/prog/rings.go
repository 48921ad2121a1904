package main

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

func init() {
	cases["ring-records"] = ringRecords
	cases["ring-discard"] = ringDiscard
	cases["ring-mmap"] = ringMmap
	cases["ring-user"] = ringUser
	cases["perf-records"] = perfRecords
	cases["array-mmap"] = arrayMmap
	cases["array-both"] = arrayBoth
	cases["array-large"] = arrayLarge
}

const page = 4096

// load64 and store64 are what libbpf does to positions and counters.
func load64(b []byte, off int) uint64 { return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[off]))) }
func store64(b []byte, off int, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[off])), v)
}
func add64(b []byte, off int, v uint64) { atomic.AddUint64((*uint64)(unsafe.Pointer(&b[off])), v) }

func mmap(fd, off, size, prot int) []byte {
	b, err := unix.Mmap(fd, int64(off), size, prot, unix.MAP_SHARED)
	check("mmap", err)
	return b
}

// ring is a BPF ring buffer that was mapped.
type ring struct {
	fd                 int
	consumer, producer []byte
	size               int
}

func newRing(size int) *ring {
	fd := createMap(unix.BPF_MAP_TYPE_RINGBUF, 0, 0, uint32(size), 0)
	return &ring{fd, mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE), mmap(fd, page, page+2*size, unix.PROT_READ), size}
}

// take consumes the next record; nil if there is none.
func (r *ring) take() []byte {
	for {
		pos := load64(r.consumer, 0)
		if pos >= load64(r.producer, 0) {
			return nil
		}
		off := page + int(pos)&(r.size-1)
		length := le.Uint32(r.producer[off:])
		n := length & (1<<30 - 1)
		record := bytes.Clone(r.producer[off+8:][:n])
		store64(r.consumer, 0, pos+uint64(n+8+7)&^7)
		if length&(1<<30) == 0 { // else it was discarded
			return record
		}
	}
}

// output writes the value of key 0 of a map to a ring, size bytes of it, and
// adds one to its first word.
func output(r *ring, values int, size int32) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, values),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.LoadMapPtr(asm.R1, r.fd),
		asm.Mov.Imm(asm.R3, size),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
}

// ringRecords has records of all sizes go around a small ring many times.
func ringRecords() {
	for _, size := range []int32{8, 24, 1000, 2500, 4000} {
		r := newRing(page)
		values := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 4096, 1, 0)
		value := bytes.Repeat([]byte("abcdefgh"), 512)
		le.PutUint64(value, 0)
		check("update", update(values, u32s(0), value))
		prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, output(r, values, size))
		good := 0
		for i := range uint64(200) {
			testRun(prog)
			b := r.take()
			if len(b) == int(size) && le.Uint64(b) == i+1 && bytes.Equal(b[8:], value[8:size]) {
				good++
			}
		}
		fmt.Println(size, good, r.take() == nil)
	}
}

// ringDiscard reserves records and gives some back.
func ringDiscard() {
	r := newRing(page)
	count := filled(unix.BPF_MAP_TYPE_ARRAY, 1, 1)
	insns := asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, count),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R6, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R6, 1),
		asm.StoreMem(asm.R0, 0, asm.R6, asm.DWord),
		asm.LoadMapPtr(asm.R1, r.fd),
		asm.Mov.Imm(asm.R2, 200),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.StoreMem(asm.R0, 0, asm.R6, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Mov.Imm(asm.R2, 0),
		asm.And.Imm(asm.R6, 3),
		asm.JNE.Imm(asm.R6, 0, "submit"),
		asm.FnRingbufDiscard.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
		asm.FnRingbufSubmit.Call().WithSymbol("submit"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, insns)
	var got []uint64
	for range 30 {
		testRun(prog)
		testRun(prog)
		for b := r.take(); b != nil; b = r.take() {
			got = append(got, le.Uint64(b))
		}
	}
	fmt.Println(got)
}

// ringMmap maps what may not be mapped.
func ringMmap() {
	fd := createMap(unix.BPF_MAP_TYPE_HASH, 4, 4, 1, 0)
	_, err := unix.Mmap(fd, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap of a hash", err)
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(0))
	_, err = unix.Mmap(prog, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap of a program", err)
	fd = createMap(unix.BPF_MAP_TYPE_RINGBUF, 0, 0, page, 0)
	_, err = unix.Mmap(fd, page, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("mmap of the producer's page for writing", err)
	_, err = unix.Mmap(fd, 0, 5*page, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap of more than there is", err)
}

// drainProg loads a program that drains a user ring buffer and returns the sum
// of its records. Its callback reads 8 bytes of each record and adds them to
// what ctx points to.
func drainProg(fd int) *ebpf.Program {
	main := asm.Instructions{
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, fd),
		asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference("sample"),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnUserRingbufDrain.Call(),
		asm.LoadMem(asm.R0, asm.RFP, -8, asm.DWord),
		asm.Return(),
	}
	callback := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R2),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 8),
		asm.Mov.Imm(asm.R4, 0),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnDynptrRead.Call(),
		asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.R6, 0, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	function := func(name string, linkage btf.FuncLinkage) *btf.Func {
		return &btf.Func{Name: name, Type: &btf.FuncProto{Return: number}, Linkage: linkage}
	}
	main[0] = btf.WithFuncMetadata(main[0], function("drain", btf.GlobalFunc)).WithSymbol("drain")
	callback[0] = btf.WithFuncMetadata(callback[0], function("sample", btf.StaticFunc)).WithSymbol("sample")
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: append(main, callback...)})
	check("drain", err)
	return p
}

// ringUser produces into a ring that a program drains.
func ringUser() {
	fd, err := tryMap(unix.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, page, 0)
	if err != nil {
		show("this kernel has no user ring buffers", err)
		return
	}
	consumer, producer := mmap(fd, 0, page, unix.PROT_READ), mmap(fd, page, 3*page, unix.PROT_READ|unix.PROT_WRITE)
	prog := drainProg(fd)
	defer prog.Close()
	pos, sum := uint64(0), uint32(0)
	for i := range 100 {
		want := uint32(0)
		for k := range i%4 + 1 {
			size := 8 * (1 + (i+k)%30)
			off := page + int(pos)&(page-1)
			le.PutUint64(producer[off+8:], uint64(i*10+k))
			le.PutUint64(producer[off:], uint64(size))
			pos += uint64(size + 8)
			store64(producer, 0, pos)
			want += uint32(i*10 + k)
		}
		got, err := retval(prog.FD())
		if got != want || err != nil {
			fmt.Println("drained", got, "instead of", want, err)
			return
		}
		sum += got
		if c := load64(consumer, 0); c != pos {
			fmt.Println("consumed", c, "of", pos)
			return
		}
	}
	fmt.Println(sum)
}

// perfRing is a perf buffer of one processor.
type perfRing struct {
	fd   int
	mem  []byte
	size int
}

func newPerfRing(cpu, size int) *perfRing {
	fd := openEvent(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_BPF_OUTPUT, cpu, -1)
	p := &perfRing{fd, mmap(fd, 0, page+size, unix.PROT_READ|unix.PROT_WRITE), size}
	check("enable", ioctl(fd, unix.PERF_EVENT_IOC_ENABLE, 0))
	return p
}

// take consumes the next record, without its header; nil if there is none.
func (p *perfRing) take() []byte {
	tail := load64(p.mem, 1032)
	if tail >= load64(p.mem, 1024) {
		return nil
	}
	data := p.mem[page:]
	at := func(off uint64, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = data[(off+uint64(i))&uint64(p.size-1)]
		}
		return b
	}
	n := int(le.Uint16(at(tail+6, 2)))
	record := at(tail+8, n-8)
	store64(p.mem, 1032, tail+uint64(n))
	return record
}

// emitter returns perf buffers of all processors, and a program that writes
// size bytes to that of the processor it runs on.
func emitter(size int32, data int) ([]*perfRing, int) {
	n := possible()
	events := createMap(unix.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, uint32(n), 0)
	var list []*perfRing
	for cpu := range n {
		p := newPerfRing(cpu, data)
		check("update", update(events, u32s(uint32(cpu)), u32s(uint32(p.fd))))
		list = append(list, p)
	}
	insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for off := -int16(size); off < 0; off += 8 {
		insns = append(insns, asm.Mov.Imm(asm.R1, int32(0x1000+int(off))), asm.StoreMem(asm.RFP, off, asm.R1, asm.DWord))
	}
	insns = append(insns, asm.Mov.Reg(asm.R1, asm.R6), asm.LoadMapPtr(asm.R2, events), asm.LoadImm(asm.R3, 0xffffffff, asm.DWord),
		asm.Mov.Reg(asm.R4, asm.RFP), asm.Add.Imm(asm.R4, -size), asm.Mov.Imm(asm.R5, size), asm.FnPerfEventOutput.Call(), asm.Return())
	return list, loadProg(unix.BPF_PROG_TYPE_SCHED_CLS, insns)
}

func perfRecords() {
	for _, size := range []int32{8, 104, 480} {
		rings, prog := emitter(size, page)
		good, all := 0, 0
		for range 200 {
			testRun(prog)
			for _, p := range rings {
				for b := p.take(); b != nil; b = p.take() {
					all++
					if le.Uint32(b) >= uint32(size) && le.Uint64(b[4:]) == uint64(0x1000-size) && le.Uint64(b[4+size-8:]) == 0x1000-8 {
						good++
					}
				}
			}
		}
		fmt.Println(size, all, good)
	}
}

func arrayMmap() {
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 12, 3, unix.BPF_F_MMAPABLE)
	check("update", update(fd, u32s(1), append(u64s(77), 1, 2, 3, 4)))
	mem := mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	fmt.Println(mem[:48])
	store64(mem, 16, 78)
	v, err := lookup(fd, u32s(1), 12)
	fmt.Println(v, err)
	check("update", update(fd, u32s(0), append(u64s(5), 0, 0, 0, 9)))
	fmt.Println(mem[:16])
	_, err = unix.Mmap(fd, 0, 2*page, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap of more than there is", err)
	_, err = unix.Mmap(fd, page, page, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap behind the end", err)
	show("munmap", unix.Munmap(mem))

	// Frozen: read, but not written.
	_, err = bpf(unix.BPF_MAP_FREEZE, newAttr(4).u32(0, uint32(fd)))
	show("freeze", err)
	_, err = unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("mmap of a frozen map for writing", err)
	mem, err = unix.Mmap(fd, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	fmt.Println(err, mem[:16])

	// As libbpf has .rodata.
	fd = createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 1, unix.BPF_F_MMAPABLE|unix.BPF_F_RDONLY_PROG)
	_, err = unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("mmap of read-only data for writing", err)
	check("update", update(fd, u32s(0), u64s(4711)))
	mem = mmap(fd, 0, page, unix.PROT_READ)
	fmt.Println(mem[:8])
	_, err = bpf(unix.BPF_MAP_FREEZE, newAttr(4).u32(0, uint32(fd)))
	show("freeze", err)
	show("update", update(fd, u32s(0), u64s(1)))
	fd = createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0)
	_, err = unix.Mmap(fd, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap of an ordinary array", err)
}

// arrayBoth has a program and the tool write the same words.
func arrayBoth() {
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 64, 1, unix.BPF_F_MMAPABLE)
	mem := mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, increment(fd))
	store64(mem, 0, 100)
	testRun(prog)
	fmt.Println("after a run", load64(mem, 0))
	const times = 300
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for range times {
			testRun(prog)
		}
	}()
	for range times {
		add64(mem, 0, 1000)
		add64(mem, 8, 1)
	}
	wg.Wait()
	testRun(prog)
	fmt.Println(load64(mem, 0), load64(mem, 8))
	v, err := lookup(fd, u32s(0), 64)
	fmt.Println(v[:16], err)
}

// arrayLarge changes more words than go into one message.
func arrayLarge() {
	const size = 12 << 20
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 1<<20, 12, unix.BPF_F_MMAPABLE)
	check("update", update(fd, u32s(11), bytes.Repeat([]byte{7}, 1<<20)))
	mem := mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE)
	fmt.Println(mem[size-1], mem[0])
	for off := 0; off < size; off += 8 {
		store64(mem, off, uint64(off)+1)
	}
	for _, k := range []uint32{0, 5, 11} {
		v, err := lookup(fd, u32s(k), 1<<20)
		fmt.Println(err, le.Uint64(v), le.Uint64(v[1<<20-8:]))
	}
}
