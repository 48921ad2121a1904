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
