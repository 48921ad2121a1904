package suite

// bt is one of the programs that come with bpftrace. They run until Ctrl-C.
func bt(name string, want ...string) Row {
	return Row{Family: "bpftrace's programs", Name: name, Args: []string{name}, Want: want, Interrupt: true}
}

// btRows are all programs of Debian's bpftrace, with what they print on the
// suite's load where the kernel has what they need. What is printed at the end
// only is not seen before Ctrl-C, so that it is not wanted.
var btRows = []Row{
	bt("bashreadline.bt", `^Tracing bash commands`, ` echo hello$`),
	bt("biolatency.bt", `^Tracing block device I/O`),
	bt("biosnoop.bt", `^TIME\(ms\) +DISK`),
	bt("biostacks.bt", `^Tracing block I/O`),
	bt("bitesize.bt", `^Tracing block device I/O`),
	bt("capable.bt", `^TIME`, ` CAP_`),
	bt("cpuwalk.bt", `^Sampling CPU at 99hz`),
	bt("dcsnoop.bt", `^TIME +PID`),
	bt("execsnoop.bt", `^TIME\(ms\)`, ` sleep 60$`),
	bt("gethostlatency.bt", `^TIME +PID`, ` getent +\d+ localhost$`),
	bt("killsnoop.bt", `^TIME +PID`, ` sh +0 +\d+ +0$`).beside("echo ready; while sleep 0.2; do kill -0 $$; done"),
	bt("loads.bt", `^Reading load averages`, ` load averages: +\d+\.\d+ +\d+\.\d+ +\d+\.\d+$`),
	bt("mdflush.bt", `^TIME`),
	bt("naptime.bt", `^TIME +PPID`, `^\d\d:\d\d:\d\d \d+ .* \d+\.\d+$`),
	bt("oomkill.bt", `^Tracing oom_kill_process`),
	bt("opensnoop.bt", `^PID +COMM`, ` load +\d+ +0 +/etc/hostname$`, ` load +-1 +2 +/nonexistent$`),
	bt("pidpersec.bt", `^Tracing new processes`, ` PIDs/sec: @: [1-9]`),
	bt("runqlat.bt", `^Tracing CPU scheduler`),
	bt("runqlen.bt", `^Sampling run queue length`),
	bt("setuids.bt", `^TIME +PID`, ` setresuid +ruid=65534 euid=65534 suid=65534 \(0\)$`).beside("echo ready; while sleep 0.2; do setpriv --reuid 65534 --clear-groups true; done"),
	bt("ssllatency.bt", `^Tracing SSL/TLS`),
	bt("sslsnoop.bt", `^TIME\(us\)`),
	bt("statsnoop.bt", `^PID +COMM`, ` load +2 +/nonexistent$`),
	bt("swapin.bt", `^\d\d:\d\d:\d\d$`),
	bt("syncsnoop.bt", `^TIME`, ` sync +.*sync`).beside("echo ready; while sleep 0.2; do sync -f /tmp; sync; done"),
	bt("syscount.bt", `^Counting syscalls`),
	bt("tcpaccept.bt", `^TIME`, ` load `),
	bt("tcpconnect.bt", `^TIME`, ` load `),
	bt("tcpdrop.bt", `^TIME`),
	bt("tcplife.bt", `^PID`, ` load `),
	bt("tcpretrans.bt", `^TIME`),
	bt("tcpsynbl.bt", `^Tracing SYN backlog`),
	bt("threadsnoop.bt", `^TIME\(ms\)`),
	bt("undump.bt", `^TIME`),
	bt("vfscount.bt", `^Tracing VFS calls`),
	bt("vfsstat.bt", `^Tracing key VFS calls`),
	bt("writeback.bt", `^TIME`),
	bt("xfsdist.bt", `^Tracing XFS`),
	{Family: "bpftrace's programs", Name: "bpftrace-aotrt", Fails: true, Args: []string{"bpftrace-aotrt", "/nonexistent"}},
}
