// What the text protocol can load: a map, globals, a call, a perf buffer.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

const volatile __u64 step = 1;
__u64 total = 0;

static __noinline __u64 *entry(__u32 key)
{
	__u64 zero = 0;
	bpf_map_update_elem(&calls, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&calls, &key);
}

#ifndef EVENT
#define EVENT "syscalls/sys_enter_getpgid"
#endif

SEC("tracepoint/" EVENT)
int on_event(void *ctx)
{
	/* A field whose place differs from kernel to kernel. */
	struct task_struct *t = (void *)bpf_get_current_task();
	__u32 tgid = BPF_CORE_READ(t, tgid);
	__u64 *n = entry(tgid);
	if (n)
		__sync_fetch_and_add(n, step);
	__sync_fetch_and_add(&total, 1);
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &tgid, sizeof(tgid));
	return 0;
}
