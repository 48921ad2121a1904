// A program whose globals are read and written while it is loaded.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int factor = 1; // .rodata: set before the load
int step = 1;                  // .data: written at run time
__u64 runs, total;             // .bss: read at run time

struct record {
	__u64 run, total;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu SEC(".maps");

SEC("socket")
int count(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *sum = bpf_map_lookup_elem(&per_cpu, &zero);
	struct record *record;

	runs++;
	total += step * factor;
	if (sum)
		*sum += step;
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (record) {
		record->run = runs;
		record->total = total;
		bpf_ringbuf_submit(record, 0);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
