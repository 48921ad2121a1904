// Lists processes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));
struct task_struct {
	int pid, tgid;
} __attribute__((preserve_access_index));
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

SEC("iter/task")
int list(struct bpf_iter__task *ctx)
{
	static const char format[] = "process %d\n";
	struct task_struct *t = ctx->task;
	__u64 pid;
	if (!t || t->pid != t->tgid)
		return 0;
	pid = t->pid;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), &pid, sizeof(pid));
	return 0;
}
