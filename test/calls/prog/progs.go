package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func init() {
	cases["prog-load"] = progLoad
	cases["prog-log"] = progLog
	cases["prog-fdarray"] = progFDArray
	cases["prog-run"] = progRun
	cases["prog-info"] = progInfo
	cases["prog-query"] = progQuery
	cases["link"] = links
	cases["btf"] = btfObjects
	cases["pin"] = pins
	cases["rlimit"] = noMoreDescriptors
}

// code lays out instructions as the kernel reads them.
func code(insns asm.Instructions) []byte {
	var b bytes.Buffer
	check("marshal", insns.Marshal(&b, le))
	return b.Bytes()
}

func returns(v int32) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, v), asm.Return()}
}

// increment adds one to the value of key 0.
func increment(fd int) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
}

// loadWith loads a program whose attributes edit may change.
func loadWith(kind uint32, insns asm.Instructions, edit func(*attr)) int {
	fd, err := bpf(unix.BPF_PROG_LOAD, loadAttr(kind, insns, edit))
	check("BPF_PROG_LOAD", err)
	return fd
}

func loadAttr(kind uint32, insns asm.Instructions, edit func(*attr)) *attr {
	check("jumps", fixJumps(insns))
	c := code(insns)
	a := newAttr(152).u32(0, kind).u32(4, uint32(len(c)/8)).ptr(8, c).str(16, "GPL")
	if edit != nil {
		edit(a)
	}
	return a
}

// fixJumps resolves the jumps to labels, which are forward ones here.
func fixJumps(insns asm.Instructions) error {
	labels, err := insns.SymbolOffsets()
	if err != nil {
		return err
	}
	at := make(map[int]int) // raw position of each instruction
	pos := 0
	for i, ins := range insns {
		at[i] = pos
		pos += int(ins.Size() / 8)
	}
	for i := range insns {
		if to, ok := labels[insns[i].Reference()]; ok {
			insns[i].Offset = int16(at[to] - at[i] - 1)
			insns[i] = insns[i].WithReference("")
		}
	}
	return nil
}

func loadProg(kind uint32, insns asm.Instructions) int { return loadWith(kind, insns, nil) }

// testRun runs a program once.
func testRun(fd int) {
	_, err := bpf(unix.BPF_PROG_TEST_RUN, newAttr(76).u32(0, uint32(fd)).u32(8, 64).ptr(16, make([]byte, 64)))
	check("BPF_PROG_TEST_RUN", err)
}

// info returns n bytes of what the kernel says of an object.
func info(fd, n int, edit func(*attr)) ([]byte, error) {
	b := &attr{b: make([]byte, n)}
	if edit != nil {
		edit(b)
	}
	a := newAttr(16).u32(0, uint32(fd)).u32(4, uint32(n)).ptr(8, b.b)
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, a)
	return b.b, err
}

func mapID(fd int) uint32 {
	b, err := info(fd, 88, nil)
	check("info of a map", err)
	return le.Uint32(b[4:])
}

func progID(fd int) uint32 {
	b, err := info(fd, 208, nil)
	check("info of a program", err)
	return le.Uint32(b[4:])
}

func progLoad() {
	fd := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(0))
	fmt.Println("loaded", fd > 2)
	for _, c := range []struct {
		name string
		edit func(*attr)
	}{
		{"no instructions", func(a *attr) { a.u32(4, 0) }},
		{"more instructions than are allowed", func(a *attr) { a.u32(4, 2<<20) }},
		{"instructions that cannot be read", func(a *attr) { a.u64(8, 0x1000) }},
		{"license that cannot be read", func(a *attr) { a.u64(16, 0x1000) }},
		{"a license that never ends", func(a *attr) { a.ptr(16, bytes.Repeat([]byte("x"), 8192)) }},
		{"a type that is not", func(a *attr) { a.u32(0, 9999) }},
		{"a BTF that is none", func(a *attr) { a.u32(72, 1).u32(76, 8).u32(88, 1).ptr(80, make([]byte, 8)) }},
		{"a program to attach to that is none", func(a *attr) { a.u32(112, 1) }},
		{"a log without a level", func(a *attr) { a.u32(28, 4096).ptr(32, make([]byte, 4096)) }},
	} {
		_, err := bpf(unix.BPF_PROG_LOAD, loadAttr(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(0), c.edit))
		show(c.name, err)
	}
}

// progLog compares logs, and what lies behind them.
func progLog() {
	bad := asm.Instructions{asm.Mov.Reg(asm.R0, asm.R5), asm.Return()}
	for _, size := range []int{16, 128, 1 << 16, 16<<20 - 1} {
		for _, insns := range []asm.Instructions{bad, returns(0)} {
			buf := bytes.Repeat([]byte{0xcc}, size)
			_, err := bpf(unix.BPF_PROG_LOAD, loadAttr(unix.BPF_PROG_TYPE_SOCKET_FILTER, insns, func(a *attr) {
				a.u32(24, 1).u32(28, uint32(size)).ptr(32, buf)
			}))
			show("load", err)
			end := bytes.IndexByte(buf, 0)
			first, _, _ := strings.Cut(string(buf[:max(end, 0)]), "\n")
			fmt.Printf("%d %d %q behind %x\n", size, end, first, buf[min(size-1, end+200)])
		}
	}
}

// progFDArray refers to maps by their place in an array of descriptors.
func progFDArray() {
	fd := filled(unix.BPF_MAP_TYPE_ARRAY, 1, 1)
	insns := increment(0)
	check("jumps", fixJumps(insns))
	c := code(insns)
	// The load of the map's address: BPF_PSEUDO_MAP_IDX, entry 2.
	for off := 0; off < len(c); off += 8 {
		if c[off] == 0x18 {
			c[off+1] = c[off+1]&0xf | 5<<4
			le.PutUint32(c[off+4:], 2)
			break
		}
	}
	fds := u32s(77777, 0xffffffff, uint32(fd), 88888)
	prog, err := bpf(unix.BPF_PROG_LOAD, newAttr(152).u32(0, unix.BPF_PROG_TYPE_SOCKET_FILTER).u32(4, uint32(len(c)/8)).ptr(8, c).
		str(16, "GPL").ptr(120, fds))
	show("sparse", err)
	if err == nil {
		testRun(prog)
		testRun(prog)
		v, err := lookup(fd, u32s(0), 8)
		fmt.Println(v, err)
	}
	// All entries count.
	other := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0)
	for _, fds := range [][]byte{u32s(uint32(other), uint32(fd), uint32(fd)), u32s(77777, uint32(fd), uint32(fd))} {
		prog, err = bpf(unix.BPF_PROG_LOAD, newAttr(152).u32(0, unix.BPF_PROG_TYPE_SOCKET_FILTER).u32(4, uint32(len(c)/8)).ptr(8, c).
			str(16, "GPL").ptr(120, fds).u32(148, 3))
		show("counted", err)
		if err == nil {
			b, err := info(prog, 208, nil)
			fmt.Println("maps", le.Uint32(b[52:]), err)
		}
	}
	// The value's address inside of the instruction.
	c = code(asm.Instructions{
		asm.LoadMapValue(asm.R1, fd, 0), asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord), asm.Return(),
	})
	prog, err = bpf(unix.BPF_PROG_LOAD, newAttr(152).u32(0, unix.BPF_PROG_TYPE_SOCKET_FILTER).u32(4, uint32(len(c)/8)).ptr(8, c).str(16, "GPL"))
	show("map value", err)
	fmt.Println(retval(prog))
}

// retval runs a program and returns what it returned.
func retval(prog int) (uint32, error) {
	a := newAttr(76).u32(0, uint32(prog)).u32(8, 64).ptr(16, make([]byte, 64))
	_, err := bpf(unix.BPF_PROG_TEST_RUN, a)
	return a.get(4), err
}

func progRun() {
	fd := loadProg(unix.BPF_PROG_TYPE_SCHED_CLS, returns(42))
	data := bytes.Repeat([]byte{0x11}, 64)
	for _, size := range []int{0, 32, 64, 200} {
		out := bytes.Repeat([]byte{0xdd}, 256)
		a := newAttr(76).u32(0, uint32(fd)).u32(8, 64).u32(12, uint32(size)).ptr(16, data).ptr(24, out).u32(32, 3)
		_, err := bpf(unix.BPF_PROG_TEST_RUN, a)
		show("run", err)
		fmt.Printf("%d %d %x\n", a.get(4), a.get(12), out[:80])
	}
	_, err := bpf(unix.BPF_PROG_TEST_RUN, newAttr(76).u32(0, uint32(fd)).u32(8, 64).u64(16, 0x1000))
	show("data that cannot be read", err)
	_, err = bpf(unix.BPF_PROG_TEST_RUN, newAttr(76).u32(0, 1).u32(8, 64).ptr(16, data))
	show("no program", err)
}

func progInfo() {
	m := filled(unix.BPF_MAP_TYPE_ARRAY, 1, 1)
	fd := loadWith(unix.BPF_PROG_TYPE_SOCKET_FILTER, increment(m), func(a *attr) { copy(a.b[48:], "the_name") })
	first, err := info(fd, 232, nil)
	check("info", err)
	xlated, ids := le.Uint32(first[20:]), le.Uint32(first[52:])
	fmt.Printf("type %d xlated %d maps %d name %s\n", le.Uint32(first), xlated, ids, bytes.TrimRight(first[64:80], "\x00"))
	insns, maps := bytes.Repeat([]byte{0xaa}, 4096), u32s(9, 9, 9)
	got, err := info(fd, 232, func(a *attr) { a.u32(20, 4096).ptr(32, insns).u32(52, 3).ptr(56, maps) })
	check("info", err)
	fmt.Println(le.Uint32(got[20:]) == xlated, le.Uint32(got[52:]), le.Uint32(maps) == mapID(m), maps[4:], insns[0] != 0xaa, insns[xlated])
	fmt.Println("pointers stay", le.Uint64(got[32:]) != 0, le.Uint64(got[56:]) != 0)
	_, err = info(fd, 232, func(a *attr) { a.u32(52, 1).u64(56, 0x1000) })
	show("pointer that cannot be written", err)
	_, err = info(1, 232, nil)
	show("no object", err)
	// Less than there is, and more.
	for _, n := range []int{4, 40, 232} {
		got, err := info(fd, n, nil)
		fmt.Println(n, err, le.Uint32(got) == unix.BPF_PROG_TYPE_SOCKET_FILTER)
	}
	got, err = info(m, 80, nil)
	fmt.Println("map", err, got[0], le.Uint32(got[8:]), le.Uint32(got[12:]), le.Uint32(got[16:]))
}

// cgroupDir is a directory of the cgroup file system.
func cgroupDir() string {
	for _, d := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(d + "/cgroup.procs"); err == nil {
			return d
		}
	}
	return "/sys/fs/cgroup"
}

func progQuery() {
	dir := cgroupDir() + "/bpfd-calls-test"
	os.Mkdir(dir, 0o755)
	defer os.Remove(dir)
	cgroup, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	check("cgroup", err)
	var ids []uint32
	for i := range int32(3) {
		prog := loadWith(unix.BPF_PROG_TYPE_CGROUP_SKB, returns(1), func(a *attr) { a.u32(68, unix.BPF_CGROUP_INET_EGRESS) })
		ids = append(ids, progID(prog))
		_, err := bpf(unix.BPF_PROG_ATTACH, newAttr(20).u32(0, uint32(cgroup)).u32(4, uint32(prog)).
			u32(8, unix.BPF_CGROUP_INET_EGRESS).u32(12, unix.BPF_F_ALLOW_MULTI))
		show(fmt.Sprintf("attach %d", i), err)
	}
	for _, room := range []int{0, 1, 3, 5} {
		list := bytes.Repeat([]byte{0xff}, 4*8)
		a := newAttr(32).u32(0, uint32(cgroup)).u32(4, unix.BPF_CGROUP_INET_EGRESS).u32(24, uint32(room))
		if room > 0 {
			a.ptr(16, list)
		}
		_, err := bpf(unix.BPF_PROG_QUERY, a)
		show("query", err)
		same := 0
		for i, id := range ids {
			if le.Uint32(list[4*i:]) == id {
				same++
			}
		}
		fmt.Println(room, a.get(24), a.get(12), same, le.Uint32(list[4*5:]) == 0xffffffff)
	}
	_, err = bpf(unix.BPF_PROG_QUERY, newAttr(32).u32(0, 1).u32(4, unix.BPF_CGROUP_INET_EGRESS))
	show("query of no cgroup", err)
	// Interfaces are numbers, not descriptors: 1 is lo.
	_, err = bpf(unix.BPF_PROG_QUERY, newAttr(64).u32(0, 1).u32(4, unix.BPF_TCX_INGRESS))
	show("query of an interface", err)
}

func links() {
	prog := loadProg(unix.BPF_PROG_TYPE_RAW_TRACEPOINT, returns(0))
	link, err := bpf(unix.BPF_RAW_TRACEPOINT_OPEN, newAttr(16).str(0, "sys_enter").u32(8, uint32(prog)))
	show("raw tracepoint", err)
	_, err = bpf(unix.BPF_RAW_TRACEPOINT_OPEN, newAttr(16).str(0, "no_such_thing").u32(8, uint32(prog)))
	show("no raw tracepoint", err)
	// The name is asked for at once, before anything else is known of the link.
	name := bytes.Repeat([]byte{0xff}, 32)
	got, err := info(link, 64, func(a *attr) { a.ptr(16, name).u32(24, 32) })
	show("info", err)
	fmt.Printf("%d %q %x\n", le.Uint32(got), name[:bytes.IndexByte(name, 0)], name[20])
	short := bytes.Repeat([]byte{0xff}, 8)
	got, err = info(link, 64, func(a *attr) { a.ptr(16, short).u32(24, 4) })
	show("info with little room", err)
	fmt.Printf("%q %d\n", short, le.Uint32(got[24:]))
	_, err = bpf(unix.BPF_LINK_UPDATE, newAttr(16).u32(0, uint32(link)).u32(4, uint32(prog)))
	show("update", err)
	_, err = bpf(unix.BPF_LINK_DETACH, newAttr(4).u32(0, uint32(link)))
	show("detach", err)
	_, err = bpf(unix.BPF_LINK_CREATE, newAttr(64).u32(0, uint32(prog)).u32(4, 0xffffffff).u32(8, unix.BPF_PERF_EVENT))
	show("perf link on no event", err)
	tp := loadProg(unix.BPF_PROG_TYPE_TRACEPOINT, returns(0))
	ev := openEvent(unix.PERF_TYPE_TRACEPOINT, tracepointID("syscalls/sys_enter_getcpu"), 0, -1)
	link, err = bpf(unix.BPF_LINK_CREATE, newAttr(64).u32(0, uint32(tp)).u32(4, uint32(ev)).u32(8, unix.BPF_PERF_EVENT).u64(16, 7))
	show("perf link", err)
	text := bytes.Repeat([]byte{0xff}, 64)
	got, err = info(link, 64, func(a *attr) { a.ptr(24, text).u32(32, 64) })
	show("info", err)
	fmt.Printf("%d %d %q\n", le.Uint32(got), le.Uint32(got[16:]), text[:max(bytes.IndexByte(text, 0), 0)])
	// A network interface.
	xdp := loadProg(unix.BPF_PROG_TYPE_XDP, returns(2))
	link, err = bpf(unix.BPF_LINK_CREATE, newAttr(64).u32(0, uint32(xdp)).u32(4, 1).u32(8, unix.BPF_XDP).u32(12, 2))
	show("xdp link", err)
	if err == nil {
		got, err = info(link, 64, nil)
		fmt.Println(le.Uint32(got), le.Uint32(got[16:]), err)
	}
}

func btfObjects() {
	// An integer: header, one type, strings.
	strs := []byte("\x00int\x00")
	types := u32s(1, 1<<24, 4, 32)
	raw := append([]byte{0x9f, 0xeb, 1, 0}, u32s(24, 0, uint32(len(types)), uint32(len(types)), uint32(len(strs)))...)
	raw = append(append(raw, types...), strs...)
	fd, err := bpf(unix.BPF_BTF_LOAD, newAttr(28).ptr(0, raw).u32(16, uint32(len(raw))))
	show("load", err)
	back, name := bytes.Repeat([]byte{0xff}, 128), bytes.Repeat([]byte{0xff}, 16)
	got, err := info(fd, 32, func(a *attr) { a.ptr(0, back).u32(8, 128).ptr(16, name).u32(24, 16) })
	show("info", err)
	fmt.Println(bytes.Equal(back[:len(raw)], raw), back[len(raw)], le.Uint32(got[8:]), le.Uint32(got[24:]), name)
	log := bytes.Repeat([]byte{0xcc}, 4096)
	_, err = bpf(unix.BPF_BTF_LOAD, newAttr(28).ptr(0, raw[:20]).u32(16, 20).ptr(8, log).u32(20, 4096).u32(24, 1))
	show("bad", err)
	fmt.Printf("%q\n", log[:max(bytes.IndexByte(log, 0), 0)])
	m, err := bpf(unix.BPF_MAP_CREATE, newAttr(72).u32(0, unix.BPF_MAP_TYPE_ARRAY).u32(4, 4).u32(8, 4).u32(12, 1).u32(48, uint32(fd)).u32(52, 1).u32(56, 1))
	show("map with types", err)
	b, err := info(m, 80, nil)
	fmt.Println(le.Uint32(b[64:]) != 0, err)
	_, err = bpf(unix.BPF_MAP_CREATE, newAttr(72).u32(0, unix.BPF_MAP_TYPE_ARRAY).u32(4, 4).u32(8, 4).u32(12, 1).u32(48, 1).u32(52, 1).u32(56, 1))
	show("map with what is no BTF", err)
}

func pins() {
	const path = "/sys/fs/bpf/bpfd-calls-test"
	os.Remove(path)
	fd := filled(unix.BPF_MAP_TYPE_HASH, 2, 8)
	_, err := bpf(unix.BPF_OBJ_PIN, newAttr(12).str(0, path).u32(8, uint32(fd)))
	show("pin", err)
	_, err = bpf(unix.BPF_OBJ_PIN, newAttr(12).str(0, path).u32(8, uint32(fd)))
	show("pin again", err)
	again, err := bpf(unix.BPF_OBJ_GET, newAttr(12).str(0, path))
	show("get", err)
	fmt.Println(mapID(fd) == mapID(again))
	ro, err := bpf(unix.BPF_OBJ_GET, newAttr(16).str(0, path).u32(12, unix.BPF_F_RDONLY))
	show("get read-only", err)
	k, err := next(ro, nil, 4)
	show("next", err)
	show("delete", remove(ro, k))
	show("update", update(ro, k, u64s(1)))
	show("remove", os.Remove(path))
	_, err = bpf(unix.BPF_OBJ_GET, newAttr(12).str(0, path))
	show("get", err)
	_, err = bpf(unix.BPF_OBJ_GET, newAttr(12).str(0, "/etc/hostname"))
	show("get what is no pin", err)
	_, err = bpf(unix.BPF_OBJ_GET, newAttr(12).str(0, "/sys/fs/bpf/"+strings.Repeat("x", 5000)))
	show("a path that is too long", err)
}

// noMoreDescriptors asks for more than the process may have.
func noMoreDescriptors() {
	var lim unix.Rlimit
	check("getrlimit", unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	lim.Cur = 16
	check("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
	before := 0
	for i := range 32 {
		_, err := tryMap(unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0)
		if err != nil {
			show("in the end", err)
			break
		}
		before = i
	}
	fmt.Println("some", before > 2)
}
