// Reads and writes the mapped globals of count.bpf.c while it runs, and takes
// its records from the ring buffer. What it prints is the same each time.
#include <stdio.h>
#include <string.h>
#include <bpf/libbpf.h>
#include <bpf/bpf.h>
#include "count.skel.h"

static int print_record(void *ctx, void *data, size_t size)
{
	__u64 *record = data;

	printf("record %llu: total %llu\n", record[0], record[1]);
	return 0;
}

static int run(struct count_bpf *skel, int times)
{
	char packet[64] = {};
	int i, err = 0;

	for (i = 0; i < times && !err; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet), .repeat = 1);
		err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.count), &opts);
	}
	printf("step %d, factor %d: %llu runs, total %llu\n", skel->data->step, skel->rodata->factor,
	       skel->bss->runs, skel->bss->total);
	return err;
}

static int sum_of_cpus(struct count_bpf *skel)
{
	int i, err, cpus = libbpf_num_possible_cpus();
	__u64 values[cpus], sum = 0;
	__u32 zero = 0;

	err = bpf_map_lookup_elem(bpf_map__fd(skel->maps.per_cpu), &zero, values);
	for (i = 0; i < cpus; i++)
		sum += values[i];
	printf("sum of all CPUs: %llu\n", sum);
	return err;
}

int main(void)
{
	struct count_bpf *skel = count_bpf__open();
	struct ring_buffer *records = NULL;
	int err = !skel;

	if (!err) {
		skel->rodata->factor = 10;
		skel->bss->total = 1000;
		err = count_bpf__load(skel);
	}
	if (!err) {
		records = ring_buffer__new(bpf_map__fd(skel->maps.records), print_record, NULL, NULL);
		err = !records;
	}
	if (!err)
		err = run(skel, 3);
	if (!err) {
		skel->data->step = 7;
		err = run(skel, 2);
	}
	if (!err) {
		skel->bss->runs = 100;
		err = run(skel, 1);
	}
	if (!err)
		err = sum_of_cpus(skel);
	if (!err && ring_buffer__poll(records, 10000) < 0)
		err = 1;
	ring_buffer__free(records);
	count_bpf__destroy(skel);
	if (err)
		fprintf(stderr, "count: %d\n", err);
	return err != 0;
}
