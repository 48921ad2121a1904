package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	cases["life-dup"] = lifeDup
	cases["life-mapping"] = lifeMapping
	cases["life-waited"] = lifeWaited
	cases["life-fork"] = lifeFork
	cases["life-exec"] = lifeExec
	cases["life-passing"] = lifePassing
	cases["life-killed"] = lifeKilled
	cases["life-kinds"] = lifeKinds
	helpers["use"] = helperUse
	helpers["exists"] = helperExists
	helpers["keep"] = helperKeep
	helpers["receive"] = helperReceive
}

// exists prints whether the map with that id is still there.
func exists(what string, id uint32) {
	fd, err := bpf(unix.BPF_MAP_GET_FD_BY_ID, newAttr(16).u32(0, id))
	if err == nil {
		unix.Close(fd)
	}
	show(what, err)
}

// owned returns a map and its id.
func owned() (int, uint32) {
	fd := filled(unix.BPF_MAP_TYPE_HASH, 3, 8)
	return fd, mapID(fd)
}

func lifeDup() {
	fd, id := owned()
	exists("open", id)
	a, err := unix.Dup(fd)
	check("dup", err)
	check("dup2", unix.Dup2(fd, 50))
	check("dup3", unix.Dup3(fd, 51, unix.O_CLOEXEC))
	b, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 60)
	check("F_DUPFD", err)
	for _, n := range []int{fd, 50, b, a} {
		unix.Close(n)
		exists(fmt.Sprint("without ", n), id)
	}
	v, err := lookup(51, u32s(2), 8)
	fmt.Println(v, err)
	// What takes its number ends the last one.
	other, otherID := owned()
	check("dup3", unix.Dup3(other, 51, 0))
	exists("replaced", id)
	unix.Close(other)
	v, err = lookup(51, u32s(2), 8)
	fmt.Println(v, err)
	unix.Close(51)
	exists("the other", otherID)
	for range 50 {
		fd, id := owned()
		unix.Close(fd)
		if _, err := bpf(unix.BPF_MAP_GET_FD_BY_ID, newAttr(16).u32(0, id)); err != unix.ENOENT {
			fmt.Println("still there", err)
		}
	}
}

func lifeMapping() {
	fd := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 8, 1, unix.BPF_F_MMAPABLE)
	id := mapID(fd)
	mem := mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	unix.Close(fd)
	exists("mapped", id)
	store64(mem, 0, 4711)
	again, err := bpf(unix.BPF_MAP_GET_FD_BY_ID, newAttr(16).u32(0, id))
	check("by id", err)
	v, err := lookup(again, u32s(0), 8)
	fmt.Println(v, err)
	unix.Close(again)
	check("munmap", unix.Munmap(mem))
	exists("not mapped", id)
	r := newRing(page)
	id = mapID(r.fd)
	unix.Close(r.fd)
	exists("mapped", id)
	unix.Munmap(r.consumer)
	exists("half mapped", id)
	unix.Munmap(r.producer)
	exists("not mapped", id)
}

// lifeWaited closes what was waited for.
func lifeWaited() {
	for _, name := range []string{"epoll", "poll", "select"} {
		r := newRing(page)
		id := mapID(r.fd)
		_, err := waiting(waiters[name], 0, r.fd)
		check(name, err)
		dup, err := unix.Dup(r.fd)
		check("dup", err)
		unix.Munmap(r.consumer)
		unix.Munmap(r.producer)
		unix.Close(r.fd)
		exists(name+": a copy is left", id)
		_, err = waiting(waiters[name], 0, dup)
		check(name, err)
		unix.Close(dup)
		exists(name+": closed", id)
	}
}

// helper runs this program again, with descriptors from 3 on.
func helper(fds []int, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{name}, args...)...)
	for _, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		check("dup", err)
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(dup), "map"))
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

func closeExtra(cmd *exec.Cmd) {
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
}

// helperUse uses the map that it was given as descriptor 3.
func helperUse(args []string) {
	v, err := lookup(3, u32s(2), 8)
	fmt.Println("child", v, err)
	show("child updates", update(3, u32s(7), u64s(7)))
	id, _ := strconv.Atoi(args[0])
	fmt.Println("child has the same", mapID(3) == uint32(id))
}

func lifeFork() {
	fd, id := owned()
	cmd := helper([]int{fd}, "use", fmt.Sprint(id))
	check("child", cmd.Run())
	closeExtra(cmd)
	v, err := lookup(fd, u32s(7), 8)
	fmt.Println(v, err)
	cmd = helper([]int{fd}, "use", fmt.Sprint(id))
	check("start", cmd.Start())
	closeExtra(cmd)
	unix.Close(fd)
	check("child", cmd.Wait())
	exists("after the child", id)
}

// helperExists says whether a map is there after an exec.
func helperExists(args []string) {
	id, _ := strconv.Atoi(args[0])
	exists("after exec", uint32(id))
	if len(args) > 1 {
		fd, _ := strconv.Atoi(args[1])
		v, err := lookup(fd, u32s(1), 8)
		fmt.Println(v, err)
	}
}

func lifeExec() {
	cmd := exec.Command("/proc/self/exe", "keep")
	cmd.Stdout = os.Stdout
	check("child", cmd.Run())
	_, id := owned()
	check("exec", syscall.Exec("/proc/self/exe", []string{"prog", "exists", fmt.Sprint(id)}, os.Environ()))
}

// helperKeep has a descriptor survive an exec.
func helperKeep([]string) {
	fd, id := owned()
	kept, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 40)
	check("dup", err)
	check("exec", syscall.Exec("/proc/self/exe", []string{"prog", "exists", fmt.Sprint(id), fmt.Sprint(kept)}, os.Environ()))
}

// helperReceive receives a descriptor over the socket 3 and uses it.
func helperReceive([]string) {
	b, oob := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(3, b, oob, unix.MSG_CMSG_CLOEXEC)
	check("recvmsg", err)
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	check("control", err)
	fds, err := unix.ParseUnixRights(&msgs[0])
	check("rights", err)
	v, err := lookup(fds[0], u32s(2), 8)
	fmt.Println("child", v, err)
}

func lifePassing() {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check("socketpair", err)
	fd, id := owned()
	check("sendmsg", unix.Sendmsg(p[0], []byte("x"), unix.UnixRights(fd), nil, 0))
	unix.Close(fd)
	exists("on the way", id)
	cmd := helper([]int{p[1]}, "receive")
	check("child", cmd.Run())
	closeExtra(cmd)
	exists("after the child", id)
	// One that is never received.
	fd, id = owned()
	check("sendmsg", unix.Sendmsg(p[0], []byte("x"), unix.UnixRights(fd), nil, 0))
	unix.Close(fd)
	exists("on the way", id)
	unix.Close(p[0])
	unix.Close(p[1])
	exists("the socket is closed", id)
}

func lifeKilled() {
	fd, id := owned()
	cmd := exec.Command("/bin/sleep", "100")
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	check("dup", err)
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(dup), "map")}
	check("start", cmd.Start())
	closeExtra(cmd)
	unix.Close(fd)
	exists("the child has it", id)
	cmd.Process.Kill()
	if exit := (*exec.ExitError)(nil); !errors.As(cmd.Wait(), &exit) {
		fmt.Println("the child was not killed")
	}
	exists("killed", id)
}

// lifeKinds closes links and events, and the programs that they keep.
func lifeKinds() {
	prog := loadProg(unix.BPF_PROG_TYPE_RAW_TRACEPOINT, returns(0))
	id := progID(prog)
	there := func(what string) {
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, newAttr(16).u32(0, id))
		if err == nil {
			unix.Close(fd)
		}
		show(what, err)
	}
	there("open")
	link, err := bpf(unix.BPF_RAW_TRACEPOINT_OPEN, newAttr(16).str(0, "sys_enter").u32(8, uint32(prog)))
	check("raw tracepoint", err)
	unix.Close(prog)
	there("linked")
	b, err := info(link, 64, nil)
	check("info", err)
	linkID := le.Uint32(b[4:])
	unix.Close(link)
	_, err = bpf(unix.BPF_LINK_GET_FD_BY_ID, newAttr(16).u32(0, linkID))
	show("link", err)
}
