package suite

// libbpf is one of the libbpf-tools.
func libbpf(name string, want []string, args ...string) Row {
	return Row{Family: "libbpf-tools", Name: name, Args: append([]string{name}, args...), Want: want}
}

// snoop is one that runs until Ctrl-C.
func snoop(name string, want []string, args ...string) Row {
	return libbpf(name, want, args...).interrupted()
}

// beside adds what runs natively while the tool does.
func (row Row) beside(script string) Row {
	row.Beside = []string{"sh", "-c", script}
	return row
}

// remark adds what doc/tools.md says.
func (row Row) remark(s string) Row {
	row.Remark = s
	return row
}

// named gives a row another name than its tool's.
func (row Row) named(name string) Row {
	row.Name = name
	return row
}

type wants = []string

// libbpfRows are all of Debian's libbpf-tools, with what they print on the
// suite's load where the kernel has what they need.
var libbpfRows = []Row{
	snoop("bashreadline", wants{`^TIME +PID +COMMAND$`, `echo hello$`}),
	snoop("bindsnoop", wants{`^PID +COMM`}),
	libbpf("biolatency", wants{`usecs +: count`, `\|\*`}, "1", "1"),
	snoop("biopattern", wants{`^DISK`, `^\S+ +\d+ +\d+ +[1-9]`}, "1"),
	snoop("biosnoop", wants{`^TIME`, `^\d+\.\d+ +\S+ +\d+ `}),
	snoop("biostacks", wants{`Tracing`}, "1"),
	libbpf("biotop", wants{`PID +COMM`}, "1", "1"),
	snoop("bitesize", wants{`Kbytes|Process Name`}, "1"),
	snoop("btrfsdist", wants{`^Tracing btrfs`}),
	snoop("btrfsslower", wants{`^Tracing btrfs`}),
	libbpf("cachestat", wants{`HITS`, `^ +[1-9]`}, "1", "1"),
	snoop("capable", wants{`^TIME`, `CAP_`}),
	libbpf("cpudist", wants{`usecs`, `\|\*`}, "1", "1"),
	libbpf("cpufreq", wants{`\|\*`}, "-d", "1"),
	snoop("drsnoop", wants{`COMM`}),
	snoop("execsnoop", wants{`^PCOMM`, `^true +\d+ +\d+ +0 +\S*true *$`}),
	snoop("exitsnoop", wants{`^PCOMM`, `^true +`}),
	snoop("ext4dist", wants{`^Tracing ext4`}),
	snoop("ext4slower", wants{`^Tracing ext4`}),
	snoop("filelife", wants{`^TIME`, `load +[\d.]+ file$`}),
	libbpf("filetop", wants{`TID +COMM`}, "1", "1"),
	snoop("fsdist", wants{`^Tracing ext4`}, "-t", "ext4"),
	snoop("fsslower", wants{`^Tracing ext4`}, "-t", "ext4"),
	snoop("funclatency", wants{`^Tracing`}, "vfs_read"),
	snoop("gethostlatency", wants{`^TIME`, `getent +[\d.]+ +localhost$`}),
	libbpf("hardirqs", wants{`^HARDIRQ`, `^\S+ +[1-9]`}, "1", "1"),
	snoop("javagc", wants{`^Tracing javagc`}, "-p", "{pid}"),
	snoop("killsnoop", wants{`^TIME +PID`, `^\d\d:\d\d:\d\d +\d+ +\S+ +\d+ +\d+ +`}),
	snoop("klockstat", wants{`^Tracing mutex`}),
	snoop("ksnoop", wants{`TIME +CPU`}, "trace", "vfs_read"),
	libbpf("llcstat", wants{`^PID`}, "1"),
	snoop("mdflush", wants{`^Tracing md`}),
	snoop("mountsnoop", wants{`^COMM`, `^load .*mount\("tmpfs", `, `umount\(`}),
	snoop("nfsdist", wants{`^Tracing nfs`}),
	snoop("nfsslower", wants{`^Tracing nfs`}),
	snoop("numamove", wants{`^TIME`}),
	libbpf("offcputime", wants{`__schedule`, `^    - +load \(\d+\)$`, `^        [1-9]\d*$`}, "1"),
	snoop("oomkill", wants{`^Tracing OOM kills`}),
	snoop("opensnoop", wants{`^PID`, ` /etc/hostname$`, ` 2 +/nonexistent$`}),
	snoop("readahead", wants{`Tracing fs read-ahead`}),
	libbpf("runqlat", wants{`usecs`, `\|\*`}, "1", "1"),
	libbpf("runqlen", wants{`runqlen`, `\|`}, "1", "1"),
	snoop("runqslower", wants{`^Tracing run queue latency`, `^\d\d:\d\d:\d\d \S+ +\d+ +[1-9]`}, "10"),
	snoop("sigsnoop", wants{`^TIME|^PID`, `load +15 `}),
	libbpf("slabratetop", wants{`CACHE`}, "1", "1"),
	libbpf("softirqs", wants{`^SOFTIRQ`, `^(timer|sched|rcu) +[1-9]`}, "1", "1"),
	snoop("solisten", wants{`^PID`}),
	snoop("statsnoop", wants{`^PID +COMM +RET +ERR +PATH$`}),
	libbpf("syscount", wants{`^SYSCALL`, `^(openat|read) +[1-9]`}, "-d", "1"),
	snoop("tcpconnect", wants{`^PID`, `127\.0\.0\.1`}),
	snoop("tcpconnlat", wants{`^PID`, `127\.0\.0\.1`}),
	snoop("tcplife", wants{`^PID`, `load +127\.0\.0\.1 `}),
	libbpf("tcprtt", wants{`\|\*`}, "-i", "1", "-d", "2"),
	snoop("tcpstates", wants{`^SKADDR`, `load .*ESTABLISHED -> FIN_WAIT1|ESTABLISHED +FIN_WAIT1`}),
	libbpf("tcpsynbl", wants{`\|\*|Tracing`}, "1", "1"),
	libbpf("tcptop", wants{`PID +COMM`}, "1", "1"),
	snoop("tcptracer", wants{`^T|PID`, `127\.0\.0\.1`}),
	libbpf("vfsstat", wants{`^TIME`, `: +[1-9]`}, "1", "1"),
	libbpf("wakeuptime", wants{`^\s+waker:|waker`, `^\s+[1-9]\d*$`}, "1"),
	snoop("xfsdist", wants{`^Tracing xfs`}),
	snoop("xfsslower", wants{`^Tracing xfs`}),
	{Family: "libbpf-tools", Name: "no such option", Fails: true, Args: []string{"runqlat", "--no-such-option"}},
	snoop("opensnoop", wants{`^PID`, `^{pid} +load +\d+ +0 /etc/hostname$`}, "-p", "{pid}").named("opensnoop -p"),
	libbpf("cpudist", wants{`usecs`, `\|\*`}, "-p", "{pid}", "1", "1").named("cpudist -p"),
	libbpf("runqlat", wants{`^pid = \d+ load`, `\|\*`}, "-P", "3", "1").named("runqlat -P"),
}
