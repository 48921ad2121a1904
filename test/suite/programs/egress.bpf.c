// A program for a cgroup.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/egress")
int allow(struct __sk_buff *skb) { return 1; }

char LICENSE[] SEC("license") = "GPL";
