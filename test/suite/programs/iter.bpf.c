// An iterator over the kernel's maps, which prints the names of those that
// begin with "iterated".
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_map {
	char name[16];
	__u32 max_entries;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} __attribute__((preserve_access_index));

SEC("iter/bpf_map")
int maps(struct bpf_iter__bpf_map *ctx)
{
	static const char format[] = "%s has %u entries\n", prefix[] = "iterated";
	struct bpf_map *map = ctx->map;
	__u64 args[2];
	int i;

	if (!map)
		return 0;
	for (i = 0; i < sizeof(prefix) - 1; i++)
		if (map->name[i] != prefix[i])
			return 0;
	args[0] = (__u64)map->name;
	args[1] = map->max_entries;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), args, sizeof(args));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
