// Package notify traps system calls of a tool by seccomp user notification
// (seccomp_unotify(2)): the filter, receiving, validating, answering.
package notify

import (
	"fmt"
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Condition narrows a trap to calls with an argument of a certain shape. Only
// the low 32 bits of the argument are looked at.
type Condition struct {
	Arg   int
	Mask  uint32
	Value uint32
}

// Trap is a system call that is reported, if all conditions hold.
type Trap struct {
	Nr         int
	Conditions []Condition
}

// Offsets in struct seccomp_data, include/uapi/linux/seccomp.h.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// arches are the AUDIT_ARCH values of this machine's own system calls.
var arches = map[string]uint32{
	"amd64":   unix.AUDIT_ARCH_X86_64,
	"arm64":   unix.AUDIT_ARCH_AARCH64,
	"riscv64": unix.AUDIT_ARCH_RISCV64,
}

// compat are the numbers of bpf(2) and perf_event_open(2) in the second system
// call table that a 64-bit kernel offers. Calls through it cannot be proxied
// and must not reach the host's kernel.
var compat = map[string][2]uint32{
	"amd64": {357, 336},
	"arm64": {386, 364},
}

// x32Bit marks calls through x86's x32 table, __X32_SYSCALL_BIT.
const x32Bit = 0x40000000

// Filter assembles the program which reports traps and lets all else through.
func Filter(traps []Trap) ([]bpf.RawInstruction, error) {
	arch, ok := arches[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("bpfctl does not run on %s", runtime.GOARCH)
	}
	const (
		allow  = unix.SECCOMP_RET_ALLOW
		report = unix.SECCOMP_RET_USER_NOTIF
		enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 5},
		bpf.LoadAbsolute{Off: dataNr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: compat[runtime.GOARCH][0], SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: compat[runtime.GOARCH][1], SkipTrue: 1},
		bpf.RetConstant{Val: enosys},
		bpf.RetConstant{Val: allow},
		bpf.LoadAbsolute{Off: dataNr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1},
		bpf.RetConstant{Val: enosys},
	}
	for _, t := range traps {
		p = append(p, trapCode(t, report)...)
	}
	p = append(p, bpf.RetConstant{Val: allow})
	return bpf.Assemble(p)
}

// trapCode reports t, or falls through with the call's number loaded.
func trapCode(t Trap, report uint32) []bpf.Instruction {
	var body []bpf.Instruction
	// Each condition takes three instructions; a failed one jumps to the end,
	// behind the return, where the number is loaded again.
	left := len(t.Conditions)
	for _, c := range t.Conditions {
		left--
		skip := uint8(3*left + 1)
		body = append(body,
			bpf.LoadAbsolute{Off: dataArgs + 8*uint32(c.Arg), Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.Mask},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.Value, SkipTrue: skip})
	}
	body = append(body, bpf.RetConstant{Val: report})
	if len(t.Conditions) > 0 {
		body = append(body, bpf.LoadAbsolute{Off: dataNr, Size: 4})
	}
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(t.Nr), SkipTrue: uint8(len(body))},
	}, body...)
}
