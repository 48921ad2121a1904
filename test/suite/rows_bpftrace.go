package suite

// one is a one-liner whose output differs from run to run.
func one(name, program string, want ...string) Row {
	return Row{Family: "bpftrace", Name: name, Args: []string{"bpftrace", "-e", program}, Want: want}
}

// exact is a one-liner whose output is the same each time.
func exact(name, program string, want ...string) Row {
	row := one(name, program, want...)
	row.Compare = Exact
	return row
}

// exits ends a one-liner after a second.
const exits = ` interval:s:2 { exit(); }`

var bpftraceRows = []Row{
	exact("BEGIN", `BEGIN { printf("hello %d\n", 42); exit(); }`, `^hello 42$`),
	exact("END", `BEGIN { exit(); } END { printf("the end\n"); }`, `^the end$`),
	// Without BPF_PROG_TEST_RUN, which is command 10, they are uprobes on
	// functions of bpftrace's own.
	exact("BEGIN by uprobe", `BEGIN { printf("hello %d\n", 42); exit(); }`, `^hello 42$`).denied(),
	exact("END by uprobe", `BEGIN { exit(); } END { printf("the end\n"); }`, `^the end$`).denied(),
	exact("strings", `BEGIN { printf("%s %c %5d|%-5d|%x\n", "text", 65, 7, 7, 255); exit(); }`, `^text A     7\|7    \|ff$`),
	exact("while", `BEGIN { $i = 0; while ($i < 3) { printf("%d\n", $i); $i++ } exit(); }`, `^0\n1\n2$`),
	exact("if and ternary", `BEGIN { if (1 > 2) { printf("no\n"); } else { printf("%s\n", 1 < 2 ? "yes" : "no"); } exit(); }`, `^yes$`),
	exact("tuple", `BEGIN { @[1, "x"] = (1, 2); exit(); }`, `^@\[1, x\]: \(1, 2\)$`),
	exact("delete", `BEGIN { @a[1] = 1; @a[2] = 2; delete(@a[1]); exit(); }`, `^@a\[2\]: 2$`),
	exact("clear and zero", `BEGIN { @a[1] = 1; @b[1] = 7; clear(@a); zero(@b); @c[2] = 2; exit(); }`, `^@b\[1\]: 0$`, `^@c\[2\]: 2$`),
	exact("print top", `BEGIN { @a[1] = 10; @a[2] = 30; @a[3] = 20; print(@a, 2); clear(@a); exit(); }`, `^@a\[3\]: 20\n@a\[2\]: 30$`),
	exact("hist of numbers", `BEGIN { @ = hist(1); @ = hist(5); @ = hist(5); @ = hist(1000); exit(); }`, `^\[4, 8\) +2 \|@+`, `^\[512, 1K\) +1 `),
	exact("lhist of numbers", `BEGIN { @ = lhist(5, 0, 100, 10); @ = lhist(55, 0, 100, 10); exit(); }`, `^\[0, 10\) +1 `, `^\[50, 60\) +1 `),
	exact("map functions", `BEGIN { @c = count(); @s = sum(5); @s = sum(6); @a = avg(4); @a = avg(6); @m = min(3); @x = max(9); @t = stats(2); exit(); }`,
		`^@s: 11$`, `^@a: 5$`, `^@m: 3$`, `^@x: 9$`, `^@t: count 1, average 2, total 2$`),
	exact("ksym", `BEGIN { printf("%s\n", ksym(kaddr("schedule"))); exit(); }`, `^schedule$`),
	exact("positional parameters", `BEGIN { printf("%d %s\n", $1, str($2)); exit(); }`, `^17 word$`).with("17", "word"),
	exact("filter", `interval:ms:50 /1 == 2/ { @x = 1; } BEGIN { @y = 1; } interval:ms:300 { exit(); }`, `^@y: 1$`),
	one("tracepoint", `tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }`+exits, `^@\[\S+\]: [1-9]`),
	one("tracepoint wildcard", `tracepoint:sched:sched_process_* { @[probe] = count(); }`+exits, `^@\[tracepoint:sched:sched_process_exec\]: [1-9]`),
	one("str of the tracee", `tracepoint:syscalls:sys_enter_openat { printf("open %s\n", str(args->filename)); }`+exits, `^open /etc/hostname$`, `^open /nonexistent$`),
	one("join", `tracepoint:syscalls:sys_enter_execve { join(args->argv); }`+exits, `^sleep 60$`),
	one("hist", `tracepoint:syscalls:sys_exit_read /args->ret > 0/ { @bytes = hist(args->ret); }`+exits, `^@bytes:`, `\|@`),
	one("lhist", `tracepoint:syscalls:sys_exit_read /args->ret > 0/ { @b = lhist(args->ret, 0, 1000, 100); }`+exits, `^@b:`, `\|@`),
	one("sum, avg, max", `tracepoint:syscalls:sys_exit_read /args->ret > 0/ { @s = sum(args->ret); @a = avg(args->ret); @m = max(args->ret); }`+exits, `^@s: [1-9]`, `^@a: `, `^@m: [1-9]`),
	one("per-CPU map", `profile:hz:99 { @[cpu] = count(); @all = count(); }`+exits, `^@\[0\]: [1-9]`, `^@all: [1-9]`),
	one("kstack", `tracepoint:sched:sched_switch { @[kstack(3)] = count(); }`+exits, `__schedule\+`, `^\]: [1-9]`),
	one("ustack", `tracepoint:syscalls:sys_enter_openat /pid == {pid}/ { @[ustack(3), comm] = count(); }`+exits, `^    \S*open\S*\+\d+`, `, load\]: [1-9]`),
	one("profile", `profile:hz:99 { @[comm] = count(); }`+exits, `^@\[.+\]: [1-9]`),
	one("interval", `interval:ms:100 { @n++; printf("tick %d\n", @n); } interval:ms:550 { exit(); }`, `^tick 1\ntick 2\ntick 3$`),
	one("software", `software:cpu-clock:1000000 { @ = count(); }`+exits, `^@: [1-9]`),
	one("uprobe on a library", `uprobe:libc:getaddrinfo { @[comm] = count(); } uretprobe:libc:gethostbyname2_r { @ret = count(); } uprobe:libc:malloc { @m = count(); }`+exits, `^@m: [1-9]`),
	one("uprobe on a binary", `uprobe:/bin/bash:readline { @[comm] = count(); } uretprobe:/bin/bash:readline { printf("typed %s\n", str(retval)); }`+exits, `^typed echo hello$`, `^@\[bash\]: [1-9]`),
	one("printed and cleared", `tracepoint:syscalls:sys_enter_openat { @[comm] = count(); } interval:ms:300 { print(@); clear(@); }`+exits, `^@\[\S+\]: [1-9]`),
	one("nsecs and elapsed", `BEGIN { @start = nsecs; } interval:ms:200 { printf("%d %d\n", (nsecs - @start) / 100000000, elapsed / 100000000); exit(); }`, `^[12] [1-9]$`),
	one("time", `BEGIN { time("%Y\n"); exit(); }`, `^20\d\d$`),
	one("process id", `tracepoint:syscalls:sys_enter_openat /pid == {pid}/ { @[pid, comm] = count(); }`+exits, `^@\[\d+, load\]: [1-9]`),
	one("cgroup", `tracepoint:syscalls:sys_enter_openat { @[cgroup] = count(); }`+exits, `^@\[\d+\]: [1-9]`),
	one("interrupted", `tracepoint:syscalls:sys_enter_openat { printf("%s\n", comm); @[comm] = count(); } END { printf("over\n"); }`, `^load$`).interrupted(),
	{Family: "bpftrace", Name: "-p", Args: []string{"bpftrace", "-p", "{pid}", "-e", `uprobe:/usr/bin/sleep:* { @never = count(); } BEGIN { @here = 1; }` + exits}, Want: []string{`^@here: 1$`}},
	{Family: "bpftrace", Name: "-f json", Compare: Exact, Args: []string{"bpftrace", "-f", "json", "-e", `BEGIN { @x[1] = 5; @h = hist(4); printf("text\n"); exit(); }`},
		Want: []string{`"type": "map", "data": \{"@x": \{"1": 5\}\}`, `"type": "printf"`}},
	{Family: "bpftrace", Name: "-l", Compare: Exact, Args: []string{"bpftrace", "-l", "tracepoint:sched:*"}, Want: []string{`^tracepoint:sched:sched_switch$`}},
	{Family: "bpftrace", Name: "-lv", Compare: Exact, Args: []string{"bpftrace", "-lv", "tracepoint:syscalls:sys_enter_openat"}, Want: []string{`const char \* filename`}},
	{Family: "bpftrace", Name: "-l uprobe", Compare: Exact, Args: []string{"bpftrace", "-l", "uprobe:/bin/bash:readline*"}, Want: []string{`^uprobe:/bin/bash:readline$`}},
	{Family: "bpftrace", Name: "--info", Compare: Exact, Args: []string{"sh", "-c", "bpftrace --info 2>&1"}, Want: []string{`^  perf_event_array: yes$`}},
	{Family: "bpftrace", Name: "no such tracepoint", Fails: true, Args: []string{"bpftrace", "-e", `tracepoint:no:such { }`}},
	{Family: "bpftrace", Name: "syntax error", Fails: true, Args: []string{"bpftrace", "-e", `BEGIN { printf( }`}},
	{Family: "bpftrace", Name: "kprobe", Args: []string{"bpftrace", "-e", `kprobe:vfs_read { @[comm] = count(); }` + exits}, Want: []string{`^@\[\S+\]: [1-9]`}},
	{Family: "bpftrace", Name: "kfunc", Args: []string{"bpftrace", "-e", `kfunc:vfs_read { @[comm] = count(); }` + exits}, Want: []string{`^@\[\S+\]: [1-9]`}},
}

// with adds arguments to a row's.
func (row Row) with(args ...string) Row {
	row.Args = append(row.Args, args...)
	return row
}

// denied runs a row's tool as if the kernel had no BPF_PROG_TEST_RUN.
func (row Row) denied() Row {
	row.Args = append([]string{"{dir}/deny", "10"}, row.Args...)
	return row
}

// interrupted makes a row of one that never ends by itself.
func (row Row) interrupted() Row {
	row.Interrupt = true
	return row
}
