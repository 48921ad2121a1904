// Counts bytes and packets for each user, as Android's network daemon does.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 rx_bytes, rx_packets;
	__u64 tx_bytes, tx_packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10000);
	__type(key, __u32); /* uid */
	__type(value, struct traffic);
} traffic SEC(".maps");

static __always_inline struct traffic *of_user(struct __sk_buff *skb)
{
	__u32 uid = bpf_get_socket_uid(skb);
	struct traffic *t = bpf_map_lookup_elem(&traffic, &uid);
	if (!t) {
		struct traffic zero = {};
		bpf_map_update_elem(&traffic, &uid, &zero, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&traffic, &uid);
	}
	return t;
}

SEC("cgroup_skb/ingress")
int count_rx(struct __sk_buff *skb)
{
	struct traffic *t = of_user(skb);
	if (t) {
		__sync_fetch_and_add(&t->rx_bytes, skb->len);
		__sync_fetch_and_add(&t->rx_packets, 1);
	}
	return 1; /* let it pass */
}

SEC("cgroup_skb/egress")
int count_tx(struct __sk_buff *skb)
{
	struct traffic *t = of_user(skb);
	if (t) {
		__sync_fetch_and_add(&t->tx_bytes, skb->len);
		__sync_fetch_and_add(&t->tx_packets, 1);
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
