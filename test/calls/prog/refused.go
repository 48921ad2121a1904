package main

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

func init() {
	cases["refused-sockets"] = refusedSockets
	cases["refused-arena"] = refusedArena
	cases["refused-size"] = refusedSize
	cases["refused-unknown"] = mapUnknown
}

// refusedSockets hands sockets of this program to the kernel.
func refusedSockets() {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	check("socket", err)
	for _, kind := range []uint32{unix.BPF_MAP_TYPE_SOCKMAP, unix.BPF_MAP_TYPE_SOCKHASH, unix.BPF_MAP_TYPE_XSKMAP, unix.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY} {
		fd, err := tryMap(kind, 4, 4, 2, 0)
		if err != nil {
			show(fmt.Sprint("map type ", kind), err)
			continue
		}
		show(fmt.Sprint("update of map type ", kind), update(fd, u32s(0), u32s(uint32(sock))))
	}
	fd, err := storageMap(unix.BPF_MAP_TYPE_SK_STORAGE, 1)
	check("socket storage", err)
	show("socket storage", update(fd, u32s(uint32(sock)), u64s(1)))
}

func refusedArena() {
	fd, err := bpf(unix.BPF_MAP_CREATE, newAttr(72).u32(0, 33).u32(12, 4).u32(16, unix.BPF_F_MMAPABLE))
	if err != nil {
		fmt.Println("arena: no such map type")
		return
	}
	_, err = unix.Mmap(fd, 0, 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	show("arena", err)
}

// refusedSize moves more in one call than a frame holds; what comes after works.
func refusedSize() {
	const size = 40 << 20
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, size, 1, 0)
	show("update", update(fd, u32s(0), make([]byte, size)))
	_, err := lookup(fd, u32s(0), size)
	show("lookup", err)
	const less = 20 << 20
	fd = createMap(unix.BPF_MAP_TYPE_ARRAY, 4, less, 1, 0)
	v, err := lookup(fd, u32s(0), less)
	show("lookup of zeros", err)
	fmt.Println(bytes.Equal(v, make([]byte, less)))
	k, err := next(fd, nil, 4)
	fmt.Println(k, err)
	log := make([]byte, 60<<20)
	_, err = bpf(unix.BPF_PROG_LOAD, loadAttr(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(0), func(a *attr) {
		a.u32(24, 1).u32(28, uint32(len(log))).ptr(32, log)
	}))
	show("a log of 60 MiB", err)
	_, id := owned()
	exists("the connection lives", id)
}
