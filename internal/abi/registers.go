package abi

// Registers are, for each architecture, what a probe's program reads of its
// context (bpf_user_pt_regs_t, and what follows it in struct
// bpf_perf_event_data): offset → name. Only the registers that
// libbpf's bpf_tracing.h and bcc's helpers.h read, by which arguments, results,
// the instruction, stack and frame pointers are found.
var Registers = map[string]map[int32]string{
	// arch/x86/include/uapi/asm/ptrace.h, struct pt_regs.
	"amd64": {
		32: "rbp", 56: "r10", 64: "r9", 72: "r8", 80: "rax", 88: "rcx", 96: "rdx", 104: "rsi", 112: "rdi",
		120: "orig_rax", 128: "rip", 152: "rsp", 168: "sample_period", 176: "addr",
	},
	// arch/arm64/include/uapi/asm/ptrace.h, struct user_pt_regs.
	"arm64": {
		0: "x0", 8: "x1", 16: "x2", 24: "x3", 32: "x4", 40: "x5", 48: "x6", 56: "x7",
		232: "x29", 240: "x30", 248: "sp", 256: "pc", 264: "pstate", 272: "sample_period", 280: "addr",
	},
	// arch/riscv/include/uapi/asm/ptrace.h, struct user_regs_struct.
	"riscv64": {
		0: "pc", 8: "ra", 16: "sp", 64: "s0", 80: "a0", 88: "a1", 96: "a2", 104: "a3", 112: "a4", 120: "a5", 128: "a6", 136: "a7",
		256: "sample_period", 264: "addr",
	},
	// arch/arm/include/uapi/asm/ptrace.h, struct pt_regs.
	"arm": {0: "r0", 4: "r1", 8: "r2", 12: "r3", 16: "r4", 20: "r5", 24: "r6", 44: "fp", 52: "sp", 56: "lr", 60: "pc", 72: "sample_period"},
}

// Role is what a register is for where a probe's program runs: at the entry or
// the return of a function of C.
type Role uint8

const (
	Result Role = iota + 1
	FramePointer
	Instruction
	SamplePeriod
	SampleAddr
	Argument // the first one; Argument+1 is the second, and so on
)

// Roles are, for each architecture with words of 64 bits, where a program finds
// in its context what it asks for: role → offset. The stack pointer has none:
// return addresses and further arguments are on the stack of one architecture
// and in registers of another.
var Roles = map[string]map[Role]int32{
	// System V ABI, AMD64 supplement, 3.2.3.
	"amd64": {
		Argument: 112, Argument + 1: 104, Argument + 2: 96, Argument + 3: 88, Argument + 4: 72, Argument + 5: 64,
		Result: 80, FramePointer: 32, Instruction: 128, SamplePeriod: 168, SampleAddr: 176,
	},
	// Procedure Call Standard for the Arm 64-bit Architecture, 6.8.
	"arm64": {
		Argument: 0, Argument + 1: 8, Argument + 2: 16, Argument + 3: 24, Argument + 4: 32, Argument + 5: 40, Argument + 6: 48, Argument + 7: 56,
		Result: 0, FramePointer: 232, Instruction: 256, SamplePeriod: 272, SampleAddr: 280,
	},
	// RISC-V ELF psABI, integer calling convention.
	"riscv64": {
		Argument: 80, Argument + 1: 88, Argument + 2: 96, Argument + 3: 104, Argument + 4: 112, Argument + 5: 120, Argument + 6: 128, Argument + 7: 136,
		Result: 80, FramePointer: 64, Instruction: 0, SamplePeriod: 256, SampleAddr: 264,
	},
}

// Counterpart returns the offset at which a program finds on the architecture
// to what it looks for at an offset on the architecture from. There is none
// where a register has two roles, as the first argument and the result have on
// arm64: what the program wants is not known.
func Counterpart(from, to string, off int32) (int32, bool) {
	var role Role
	for r, o := range Roles[from] {
		if o == off && role != 0 {
			return 0, false
		}
		if o == off {
			role = r
		}
	}
	found, ok := Roles[to][role]
	return found, ok
}

// RegisterFields are the names that struct pt_regs gives to registers in an
// architecture's own kernel: programs which libbpf relocates ask for them by
// name. Those without a role are left out.
var RegisterFields = map[string]map[string]int32{
	// arch/x86/include/asm/ptrace.h.
	"amd64": {"di": 112, "si": 104, "dx": 96, "cx": 88, "r8": 72, "r9": 64, "ax": 80, "bp": 32, "ip": 128},
}
