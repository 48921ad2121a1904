package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	cases["perf-errors"] = perfErrors
	cases["perf-ioctl"] = perfIoctls
	cases["perf-read"] = perfRead
	cases["perf-group"] = perfGroup
	cases["perf-dup"] = perfDup
	cases["perf-refused"] = perfRefused
	cases["perf-many"] = perfMany
}

// eventAttr is struct perf_event_attr with a type and a configuration.
func eventAttr(kind, config uint64) *attr {
	return newAttr(128).u32(0, uint32(kind)).u32(4, 128).u64(8, config)
}

// Bits of struct perf_event_attr's flags.
const disabled = 1

func tryEvent(a *attr, pid, cpu, group int, flags uint64) (int, error) {
	count("perf_event_open")
	n, _, e := unix.Syscall6(unix.SYS_PERF_EVENT_OPEN, uintptr(unsafe.Pointer(unsafe.SliceData(a.b))),
		uintptr(pid), uintptr(cpu), uintptr(group), uintptr(flags), 0)
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// openEvent opens an event; one of BPF output has a record for each.
func openEvent(kind, config uint64, cpu, pid int) int {
	a := eventAttr(kind, config)
	if config == unix.PERF_COUNT_SW_BPF_OUTPUT && kind == unix.PERF_TYPE_SOFTWARE {
		a.u64(16, 1).u64(24, unix.PERF_SAMPLE_RAW).u32(48, 1)
	}
	fd, err := tryEvent(a, pid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	check("perf_event_open", err)
	return fd
}

func ioctl(fd int, request uint, arg uintptr) error {
	if request>>8&0xff == '$' && fd > 2 {
		count("ioctl")
	}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), arg); e != 0 {
		return e
	}
	return nil
}

func ioctlBytes(fd int, request uint, b []byte) error {
	return ioctl(fd, request, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

func tracepointID(name string) uint64 {
	for _, dir := range []string{"/sys/kernel/tracing/events/", "/sys/kernel/debug/tracing/events/"} {
		if b, err := os.ReadFile(dir + name + "/id"); err == nil {
			id, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
			check(name, err)
			return id
		}
	}
	fmt.Println("this kernel has no tracepoint", name)
	os.Exit(1)
	return 0
}

func perfErrors() {
	open := func(what string, a *attr, pid, cpu, group int, flags uint64) {
		fd, err := tryEvent(a, pid, cpu, group, flags)
		show(what, err)
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	clock := func() *attr { return eventAttr(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK) }
	open("clock", clock(), -1, 0, -1, 0)
	open("a type that is not", eventAttr(4711, 0), -1, 0, -1, 0)
	open("no process and no processor", clock(), -1, -1, -1, 0)
	open("a processor that is not", clock(), -1, 100000, -1, 0)
	open("a process that is not", clock(), 1<<22-1, -1, -1, 0)
	open("a group that is none", clock(), -1, 0, 1, 0)
	open("a group that is not open", clock(), -1, 0, 99, 0)
	open("a cgroup that is none", clock(), 1, 0, -1, unix.PERF_FLAG_PID_CGROUP)
	open("flags that are not", clock(), -1, 0, -1, 1<<30)
	open("no size", clock().u32(4, 0), -1, 0, -1, 0)
	open("the first size", clock().u32(4, 64), -1, 0, -1, 0)
	// The kernel says which size it knows.
	for _, size := range []uint32{8, 5000} {
		a := clock().u32(4, size)
		open(fmt.Sprintf("a size of %d", size), a, -1, 0, -1, 0)
		fmt.Println("size", a.get(4))
	}
	a := newAttr(512).u32(4, 512).u32(500, 1)
	open("something behind the attributes", a, -1, 0, -1, 0)
	fmt.Println("size", a.get(4))
	_, _, e := unix.Syscall6(unix.SYS_PERF_EVENT_OPEN, 0x1000, 0, 0, 0, 0, 0)
	show("attributes that cannot be read", e)
}

func perfIoctls() {
	fd := openEvent(unix.PERF_TYPE_TRACEPOINT, tracepointID("syscalls/sys_enter_getcpu"), 0, -1)
	show("enable", ioctl(fd, unix.PERF_EVENT_IOC_ENABLE, 0))
	show("disable", ioctl(fd, unix.PERF_EVENT_IOC_DISABLE, 0))
	show("reset", ioctl(fd, unix.PERF_EVENT_IOC_RESET, 0))
	show("refresh", ioctl(fd, unix.PERF_EVENT_IOC_REFRESH, 1))
	show("period", ioctlBytes(fd, unix.PERF_EVENT_IOC_PERIOD, u64s(10)))
	show("period that cannot be read", ioctl(fd, unix.PERF_EVENT_IOC_PERIOD, 0x1000))
	id := make([]byte, 8)
	show("id", ioctlBytes(fd, unix.PERF_EVENT_IOC_ID, id))
	fmt.Println(le.Uint64(id) != 0)
	show("id that cannot be written", ioctl(fd, unix.PERF_EVENT_IOC_ID, 0x1000))
	show("pause without a buffer", ioctl(fd, unix.PERF_EVENT_IOC_PAUSE_OUTPUT, 1))
	show("output to what is none", ioctl(fd, unix.PERF_EVENT_IOC_SET_OUTPUT, 1))
	show("no output", ioctl(fd, unix.PERF_EVENT_IOC_SET_OUTPUT, ^uintptr(0)))
	show("filter", ioctlBytes(fd, unix.PERF_EVENT_IOC_SET_FILTER, []byte("common_pid == 1\x00")))
	show("bad filter", ioctlBytes(fd, unix.PERF_EVENT_IOC_SET_FILTER, []byte("nonsense &&& 1\x00")))
	show("endless filter", ioctlBytes(fd, unix.PERF_EVENT_IOC_SET_FILTER, bytes.Repeat([]byte("x"), 9000)))
	show("filter that cannot be read", ioctl(fd, unix.PERF_EVENT_IOC_SET_FILTER, 0x1000))
	prog := loadProg(unix.BPF_PROG_TYPE_TRACEPOINT, returns(0))
	show("bpf", ioctl(fd, unix.PERF_EVENT_IOC_SET_BPF, uintptr(prog)))
	show("what is no program", ioctl(fd, unix.PERF_EVENT_IOC_SET_BPF, 1))
	query := u32s(4, 0, 7, 7, 7, 7)
	show("query", ioctlBytes(fd, unix.PERF_EVENT_IOC_QUERY_BPF, query))
	fmt.Println(le.Uint32(query[4:]), le.Uint32(query[8:]) == progID(prog), query[12:])
	query = u32s(0, 9)
	show("query without room", ioctlBytes(fd, unix.PERF_EVENT_IOC_QUERY_BPF, query))
	fmt.Println(query)
	query = u32s(100, 9)
	show("query with too much room", ioctlBytes(fd, unix.PERF_EVENT_IOC_QUERY_BPF, query))
	show("change", ioctlBytes(fd, unix.PERF_EVENT_IOC_MODIFY_ATTRIBUTES, eventAttr(unix.PERF_TYPE_TRACEPOINT, 1).b))
	show("ioctl that is not", ioctl(fd, '$'<<8|99, 0))
	show("ioctl of a terminal", ioctl(fd, unix.TIOCGWINSZ, 0))
	show("ioctl on what is no event", ioctl(1, unix.PERF_EVENT_IOC_ENABLE, 0))
}

// Bits of read_format.
const (
	totalEnabled = 1
	totalRunning = 2
	withID       = 4
	group        = 8
)

// perfRead reads counters.
func perfRead() {
	for format := range uint64(8) {
		fd, err := tryEvent(eventAttr(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK).u64(32, format), -1, 0, -1, 0)
		check("open", err)
		b := bytes.Repeat([]byte{0xee}, 64)
		n, err := unix.Read(fd, b)
		fmt.Println("format", format, n, err, le.Uint64(b) > 0, le.Uint64(b[56:]) == 0xeeeeeeeeeeeeeeee)
		_, err = unix.Read(fd, b[:4])
		show("too short", err)
		_, err = unix.Pread(fd, b, 0)
		show("pread", err)
		_, err = unix.Seek(fd, 0, 0)
		show("lseek", err)
		_, err = unix.Write(fd, b)
		show("write", err)
		n, err = readv(fd, b)
		fmt.Println("readv", n, err)
		unix.Close(fd)
	}
	fd, err := tryEvent(eventAttr(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK).u64(40, disabled), -1, 0, -1, 0)
	check("open", err)
	value := func() uint64 {
		b := make([]byte, 8)
		n, err := unix.Read(fd, b)
		if n != 8 || err != nil {
			fmt.Println("read", n, err)
		}
		return le.Uint64(b)
	}
	fmt.Println("disabled", value(), value())
	check("enable", ioctl(fd, unix.PERF_EVENT_IOC_ENABLE, 0))
	a, b := value(), value()
	fmt.Println("counts", a < b)
	check("disable", ioctl(fd, unix.PERF_EVENT_IOC_DISABLE, 0))
	a, b = value(), value()
	fmt.Println("stands", a == b, a > 0)
	check("reset", ioctl(fd, unix.PERF_EVENT_IOC_RESET, 0))
	fmt.Println("reset", value())
	dup, err := unix.Dup(fd)
	check("dup", err)
	unix.Close(fd)
	fd = dup
	fmt.Println("dup", value())
	// A process that has ended: the kernel says so with an end of file only
	// for pinned events; others keep their count.
	fd, err = tryEvent(eventAttr(unix.PERF_TYPE_HARDWARE, 0).u64(40, 1<<2), -1, 0, -1, 0)
	if err == nil {
		n, err := unix.Read(fd, make([]byte, 8))
		fmt.Println("pinned", n, err)
	}
}

func readv(fd int, b []byte) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	n, _, e := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1)
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// perfGroup reads counters that belong together.
func perfGroup() {
	leader, err := tryEvent(eventAttr(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK).
		u64(32, group|withID|totalEnabled).u64(40, disabled), -1, 0, -1, 0)
	check("leader", err)
	ids := [2]uint64{}
	member, err := tryEvent(eventAttr(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CONTEXT_SWITCHES).u64(32, group|withID|totalEnabled), -1, 0, leader, 0)
	check("member", err)
	for i, fd := range []int{leader, member} {
		b := make([]byte, 8)
		check("id", ioctlBytes(fd, unix.PERF_EVENT_IOC_ID, b))
		ids[i] = le.Uint64(b)
	}
	show("enable", ioctl(leader, unix.PERF_EVENT_IOC_ENABLE, 1))
	b := make([]byte, 128)
	n, err := unix.Read(leader, b)
	fmt.Println(n, err, le.Uint64(b), le.Uint64(b[8:]) > 0, le.Uint64(b[24:]) == ids[0], le.Uint64(b[40:]) == ids[1])
	_, err = unix.Read(leader, b[:24])
	show("too short for the group", err)
	n, err = unix.Read(member, b)
	fmt.Println("member", n, err)
}

// perfDup waits, maps and reads under several numbers.
func perfDup() {
	fd := openEvent(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK, 0, -1)
	dup, err := unix.Dup(fd)
	check("dup", err)
	mem, err := unix.Mmap(dup, 0, 2*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("mmap", err)
	fmt.Println("offset and size", le.Uint64(mem[1040:]), le.Uint64(mem[1048:]))
	b := make([]byte, 8)
	n, err := unix.Read(fd, b)
	fmt.Println("read", n, err, le.Uint64(b) > 0)
	show("disable by the other", ioctl(dup, unix.PERF_EVENT_IOC_DISABLE, 0))
	unix.Close(fd)
	show("enable by what is left", ioctl(dup, unix.PERF_EVENT_IOC_ENABLE, 0))
	n, err = unix.Read(dup, b)
	fmt.Println("read", n, err, le.Uint64(b) > 0)
	_, err = unix.Mmap(dup, 0, 3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("mmap of three pages", err)
	_, err = unix.Mmap(dup, 0, 5*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("mmap of another size", err)
	page := openEvent(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK, 0, -1)
	_, err = unix.Mmap(page, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	show("mmap of the control page", err)
}

// perfRefused asks for rings that work differently.
func perfRefused() {
	fd := openEvent(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_BPF_OUTPUT, 0, -1)
	_, err := unix.Mmap(fd, 0, 2*4096, unix.PROT_READ, unix.MAP_SHARED)
	show("overwritable", err)
	_, err = unix.Mmap(fd, 2*4096, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("AUX", err)
}

// perfMany opens, enables and closes many events.
func perfMany() {
	for range 200 {
		fd := openEvent(unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_CPU_CLOCK, 0, -1)
		check("enable", ioctl(fd, unix.PERF_EVENT_IOC_ENABLE, 0))
		unix.Close(fd)
	}
	fmt.Println("done")
}
