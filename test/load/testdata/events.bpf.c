// A ring buffer, a perf buffer, globals, and a call between functions.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

enum kind { KIND_NONE, KIND_OPEN = 7 };

struct event {
	__u32 pid;
	enum kind kind;
	char comm[16];
	__s64 negative;
	_Bool flag;
	__u8 bytes[3];
	__u32 low : 3, high : 5;
	union {
		__u64 word;
		__u16 half;
	};
};

struct sample {
	__u32 pid;
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
	__type(value, struct event);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

struct sample *unused __attribute__((unused));

const volatile __u32 wanted_pid = 0;
const volatile char label[16] = "none";
const volatile enum kind kind = KIND_NONE;
const volatile __s64 negative = 0;
const volatile _Bool flag = 0;
const volatile __u16 numbers[3] = {};
__u64 seen = 0;

static __noinline int fill(struct event *e, __u32 pid)
{
	e->pid = pid;
	e->kind = kind;
	for (int i = 0; i < 16; i++)
		e->comm[i] = label[i];
	e->negative = negative;
	e->flag = flag;
	e->bytes[0] = 1, e->bytes[1] = 2, e->bytes[2] = 255;
	e->low = 5, e->high = 17;
	e->word = 0x1234 + numbers[1];
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	if (wanted_pid && pid != wanted_pid)
		return 0;
	__sync_fetch_and_add(&seen, 1);
	struct event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (e) {
		fill(e, pid);
		bpf_ringbuf_submit(e, 0);
	}
	struct sample s = { .pid = pid, .number = 42 };
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &s, sizeof(s));
	return 0;
}
