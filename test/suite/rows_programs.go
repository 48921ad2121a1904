package suite

// ciliumRow is a feature of the program in programs/cilium.
func ciliumRow(feature string, want ...string) Row {
	return Row{Family: "cilium/ebpf", Name: feature, Args: []string{"{dir}/cilium", feature}, Want: want, Compare: Exact}
}

// programRows are programs that BuildPrograms builds from the suite's sources.
var programRows = []Row{
	ciliumRow("ringbuf", `^record 1\nrecord 2\nrecord 3\nrecord 4\nrecord 5$`),
	ciliumRow("perf", `^5 records, sum 15$`),
	ciliumRow("links", `^tracepoint has run$`, `^raw tracepoint has run$`, `^uprobe has run$`),
	ciliumRow("batch", `^updated 1000 <nil>$`, `^looked up 1000 of which right 1000 `, `^deleted 500 <nil>$`, `^looked up and deleted 500 `),
	ciliumRow("per-CPU", `^PerCPUArray \[100`, `^PerCPUHash \[100`),
	ciliumRow("map-in-map", `^ArrayOfMaps holds Array with 9$`, `^HashOfMaps holds Array with 9$`),
	ciliumRow("walk", `^entries 1000 of which right 1000 <nil>$`, `^entries 500 of which right 500 <nil>$`),
	ciliumRow("pin", `^Array pinned, with 6$`, `^unpinned: true$`).with("{pin}/map").setup("mkdir {pin}"),
	ciliumRow("iterator", `^iterated has 4 entries$`).with("{dir}/iter.o"),
	{Family: "libbpf skeleton", Name: "globals and ring buffer", Args: []string{"{dir}/count"}, Compare: Exact,
		Want: []string{`^step 1, factor 10: 3 runs, total 1030$`, `^step 7, factor 10: 5 runs, total 1170$`, `^step 7, factor 10: 101 runs, total 1240$`,
			`^sum of all CPUs: 24$`, `^record 101: total 1240$`}},
}
