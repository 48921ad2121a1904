package suite

// bpftoolRows are bpftool's commands.
var bpftoolRows []Row
