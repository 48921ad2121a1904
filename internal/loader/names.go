package loader

import (
	"regexp"
	"strings"
)

// wordEnds are where cilium/ebpf's names of types have one word end and the
// next begin.
var wordEnds = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// kernelWords are the kernel's spellings where they differ.
var kernelWords = strings.NewReplacer("per_cpu", "percpu", "lrucpu", "lru_percpu", "c_group", "cgroup", "dev_map", "devmap",
	"cpu_map", "cpumap", "xsk_map", "xskmap", "sock_map", "sockmap", "sock_hash", "sockhash", "ring_buf", "ringbuf",
	"program_array", "prog_array", "trace_point", "tracepoint", "reuse_port", "reuseport", "struct_ops_map", "struct_ops",
	"extension", "ext")

// kernelName is the name of a type as the kernel and bpftool spell it.
func kernelName(name string) string {
	return kernelWords.Replace(strings.ToLower(wordEnds.ReplaceAllString(name, "${1}${3}_${2}${4}")))
}
