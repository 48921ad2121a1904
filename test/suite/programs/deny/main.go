// Command deny runs a tool for which one bpf(2) command does not exist, as on
// an older kernel: deny COMMAND TOOL [ARGUMENT...], where COMMAND is a number
// of enum bpf_cmd.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: deny COMMAND TOOL [ARGUMENT...]")
		os.Exit(2)
	}
	err := run(os.Args[1], os.Args[2:])
	fmt.Fprintln(os.Stderr, "deny:", err)
	os.Exit(1)
}

func run(command string, tool []string) error {
	number, err := strconv.ParseUint(command, 10, 32)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(tool[0])
	if err != nil {
		return err
	}
	// The thread that has the filter is the one that executes the tool.
	runtime.LockOSThread()
	if err := install(uint32(number)); err != nil {
		return err
	}
	return unix.Exec(path, tool, os.Environ())
}

// Offsets in struct seccomp_data; of arguments, the low half on little endian.
const (
	numberOffset   = 0
	argumentOffset = 16
)

func install(command uint32) error {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_BPF, SkipTrue: 3},
		bpf.LoadAbsolute{Off: argumentOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: command, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
