package suite

import "strings"

// bpftool is one of bpftool's commands, whose output is the same each time.
func bpftool(command string, want ...string) Row {
	return Row{Family: "bpftool", Name: command, Args: append([]string{"bpftool"}, strings.Fields(command)...), Want: want, Compare: Exact}
}

// list is a command that lists what the whole kernel has; want is of what runs
// natively meanwhile.
func list(command string, beside string, want ...string) Row {
	row := bpftool(command, want...).beside(beside)
	row.Alone = true
	return row
}

// steps are commands that one shell runs, natively and then remotely.
func steps(name string, compare Compare, script string, want ...string) Row {
	return Row{Family: "bpftool", Name: name, Args: []string{"sh", "-c", script}, Want: want, Compare: compare}
}

// after adds a script that shows natively what the tool has done, and undoes it.
func (row Row) after(script string) Row {
	row.After = script
	return row
}

// setup adds a script that runs natively before both runs.
func (row Row) setup(script string) Row {
	row.Setup = script
	return row
}

// fails makes a row of one that must fail.
func (row Row) fails() Row {
	row.Fails = true
	return row
}

const (
	// tracing has maps, programs with BTF, and links.
	tracing = "exec stdbuf -oL runqlat 1000"
	// sampling has programs on perf events.
	sampling = "exec bpftrace -e 'BEGIN { printf(\"sampling\\n\"); } profile:hz:10 { @ = count(); } tracepoint:sched:sched_switch { @s = count(); }'"
	// sampleMap is a map with known entries.
	sampleMap = `mkdir {pin} && bpftool map create {pin}/map type array key 4 value 8 entries 4 name suite_array &&
bpftool map update pinned {pin}/map key 1 0 0 0 value 1 2 3 4 5 6 7 8 &&
bpftool map update pinned {pin}/map key 2 0 0 0 value 8 7 6 5 4 3 2 1`
	// sampleProgram is a program with a map.
	sampleProgram = `mkdir {pin} && bpftool prog load {dir}/count.o {pin}/count`
)

// bpftoolRows are bpftool's commands.
var bpftoolRows = []Row{
	bpftool("version", `^bpftool v`),
	bpftool("feature probe kernel", `^eBPF program_type socket_filter is available$`, `- bpf_map_lookup_elem`),
	bpftool("-j feature probe kernel", `"have_socket_filter_prog_type"|socket_filter`),
	list("prog list", tracing, `name sched_wakeup`),
	list("-j prog list", tracing, `"name":"sched_wakeup"`),
	list("map list", tracing, `name hists`),
	list("-j map list", tracing, `"name":"hists"`),
	list("link list", tracing, `tracing|raw_tracepoint`),
	list("-j link list", tracing, `"type":"(tracing|raw_tracepoint)"`),
	list("btf list", tracing, `name \[vmlinux\]`, `prog_ids`),
	list("perf list", sampling, `tracepoint +sched_switch`),
	list("-j perf list", sampling, `"tracepoint":"sched_switch"`),
	list("net list", tracing, `^xdp:$`, `^tc:$`),
	bpftool("net list", `^lo\(1\) generic id \d+`).named("net list with a program").
		setup("mkdir {pin} && bpftool prog load {dir}/pass.o {pin}/pass && bpftool net attach xdpgeneric pinned {pin}/pass dev lo").
		cleanup("bpftool net detach xdpgeneric dev lo"),
	list("cgroup tree", tracing).setup(`mkdir {pin} {cgroup}/suite && bpftool prog load {dir}/egress.o {pin}/allow && bpftool cgroup attach {cgroup}/suite egress pinned {pin}/allow`).
		cleanup("bpftool cgroup detach {cgroup}/suite egress pinned {pin}/allow; rmdir {cgroup}/suite").wanting(`/suite$`, `egress +allow`),
	steps("cgroup attach", Masked, `bpftool cgroup attach {cgroup}/suite-attach egress pinned {pin}/allow && bpftool cgroup show {cgroup}/suite-attach`, `egress +allow`).
		setup("mkdir {pin} {cgroup}/suite-attach && bpftool prog load {dir}/egress.o {pin}/allow").
		after("bpftool cgroup show {cgroup}/suite-attach; bpftool cgroup detach {cgroup}/suite-attach egress pinned {pin}/allow").
		cleanup("rmdir {cgroup}/suite-attach"),
	bpftool("btf dump id 1 format c", `^struct task_struct \{$`),
	bpftool("btf dump file /sys/kernel/btf/vmlinux", `STRUCT 'task_struct'`),
	bpftool("btf dump file {dir}/count.o format c", `^struct __sk_buff \{$`),
	bpftool("gen skeleton {dir}/count.o name count_bpf", `^struct count_bpf \{$`),
	bpftool("map dump pinned {pin}/map", `value: 01 02 03 04 05 06 07 08`).setup(sampleMap),
	bpftool("-j map dump pinned {pin}/map", `"0x08","0x07"`).setup(sampleMap),
	bpftool("map lookup pinned {pin}/map key 2 0 0 0", `value: 08 07 06 05 04 03 02 01`).setup(sampleMap),
	bpftool("map getnext pinned {pin}/map", `^next key:$|next key: 00 00 00 00`).setup(sampleMap),
	bpftool("map getnext pinned {pin}/map key 1 0 0 0", `02 00 00 00`).setup(sampleMap),
	bpftool("map show pinned {pin}/map", `name suite_array`).setup(sampleMap),
	bpftool("-p map show pinned {pin}/map", `"name": "suite_array"`).setup(sampleMap),
	bpftool("map lookup pinned {pin}/map key 9 0 0 0").setup(sampleMap).fails(),
	bpftool("map dump pinned {pin}/large", `^Found 10000 elements$`).
		setup("mkdir {pin} && bpftool map create {pin}/large type hash key 4 value 4 entries 20000 name suite_large && sed s,@,{pin}/large, {dir}/batch | bpftool batch file - >/dev/null"),
	steps("map create and update", Masked, `set -e
bpftool map create {pin}/made type hash key 4 value 4 entries 2 name made
bpftool map update pinned {pin}/made key 1 0 0 0 value 7 0 0 0
bpftool map lookup pinned {pin}/made key 1 0 0 0
bpftool map getnext pinned {pin}/made
bpftool map dump pinned {pin}/made
bpftool map update pinned {pin}/made key 1 0 0 0 value 8 0 0 0
bpftool -p map show pinned {pin}/made
ls {pin}`, `^key: 01 00 00 00 +value: 07 00 00 00$|value: 07 00 00 00`, `^Found 1 element$`, `^made$`).setup("mkdir {pin}").
		after("bpftool map dump pinned {pin}/made; bpftool map show pinned {pin}/made; ls {pin}; rm {pin}/made"),
	steps("map delete", Exact, `bpftool map update pinned {pin}/map key 5 0 0 0 value 1 2 3 4 && bpftool map delete pinned {pin}/map key 5 0 0 0 &&
bpftool map dump pinned {pin}/map; bpftool map delete pinned {pin}/map key 5 0 0 0`, `^Found 0 elements$`).
		setup("mkdir {pin} && bpftool map create {pin}/map type hash key 4 value 4 entries 4 name deleted"),
	steps("map peek, push, pop", Exact, `for v in 1 2 3; do bpftool map push pinned {pin}/map value $v 0 0 0; done
bpftool map peek pinned {pin}/map; for v in 1 2 3 4; do bpftool map pop pinned {pin}/map; done`, `value: 03 00 00 00`, `value: 01 00 00 00`).
		setup("mkdir {pin} && bpftool map create {pin}/map type stack value 4 entries 4 name stack"),
	steps("map of CPUs", Exact, `bpftool map update pinned {pin}/map key 0 0 0 0 value 1 2 3 4 && bpftool map dump pinned {pin}/map`, `01 02 03 04`).
		setup("mkdir {pin} && bpftool map create {pin}/map type percpu_array key 4 value 4 entries 2 name of_cpus"),
	steps("batch", Exact, "bpftool batch file -", `value: 07 00 00 00`).setup(sampleMap).
		stdin("map update pinned {pin}/map key 0 0 0 0 value 7 0 0 0 0 0 0 0\nmap lookup pinned {pin}/map key 0 0 0 0\n"),
	steps("prog load", Masked, `bpftool prog load {dir}/count.o {pin}/loaded && bpftool prog show pinned {pin}/loaded`, `name count +tag`).setup("mkdir {pin}").
		after("bpftool prog show pinned {pin}/loaded; rm {pin}/loaded"),
	bpftool("prog show pinned {pin}/count", `name count +tag`).setup(sampleProgram),
	bpftool("prog dump xlated pinned {pin}/count", `call ringbuf_reserve|call bpf_ringbuf_reserve|call`).setup(sampleProgram),
	bpftool("-j prog dump xlated pinned {pin}/count", `"disasm"`).setup(sampleProgram),
	bpftool("prog dump xlated pinned {pin}/count opcodes", `[0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2}`).setup(sampleProgram),
	steps("prog run", Masked, `head -c 64 /dev/zero >{dir}/packet; bpftool prog run pinned {pin}/count data_in {dir}/packet repeat 10`, `^Return value: 0, duration`).setup(sampleProgram),
	bpftool("prog tracelog", `tracing_mark_write: hello from the suite`).beside("echo ready; while :; do echo hello from the suite >/sys/kernel/tracing/trace_marker; sleep 0.1; done").shape().interrupted(),
	steps("iter pin", Exact, "bpftool iter pin {dir}/iter.o {pin}/iter && cat {pin}/iter", `^iterated has 4 entries$`).
		setup("mkdir {pin} && bpftool map create {pin}/map type array key 4 value 4 entries 4 name iterated").after("rm -f {pin}/iter"),
	bpftool("prog load /nonexistent.o {pin}").fails(),
	bpftool("map show id 4294967295").fails(),
	bpftool("no such object").fails(),
}

// cleanup adds a script that runs natively after both runs.
func (row Row) cleanup(script string) Row {
	row.Cleanup = script
	return row
}

// wanting replaces what must be seen.
func (row Row) wanting(want ...string) Row {
	row.Want = want
	return row
}

// shape makes a row of one whose output differs from run to run.
func (row Row) shape() Row {
	row.Compare = Shape
	return row
}

// stdin adds what the tool reads.
func (row Row) stdin(s string) Row {
	row.Stdin = s
	return row
}
