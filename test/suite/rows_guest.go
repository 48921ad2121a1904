package suite

import "slices"

// forAWhile is a bcc tool that prints when it is interrupted.
func forAWhile(name string, want wants, args ...string) Row {
	row := bcc(name, want, args...)
	row.Args = append([]string{"timeout", "--preserve-status", "-s", "INT", "20"}, row.Args...)
	return row
}

const (
	cppload    = "/proc/{pid}/root/bin/cppload"
	connection = `127\.0\.0\.1 +127\.0\.0\.1 +8100`
)

// GuestRows are bcc's tools on test/vm's load: what must be seen are names,
// arguments and results that only that load has. {pid} is cppload. Tools named
// in fails must fail, and say what matches.
func GuestRows(fails map[string]string) []Row {
	rows := slices.Clone(guestRows)
	for i := range rows {
		if says := fails[rows[i].Name]; says != "" {
			rows[i].Fails, rows[i].Interrupt, rows[i].Want = true, false, wants{says}
		}
	}
	return rows
}

var guestRows = inGuest([]Row{
	bcc("argdist", wants{`\bn = 99$`}, "-n", "1", "-i", "3", "-C", "p:"+cppload+":known_function(int n):int:n"),
	bcc("argdist", wants{`\$retval = 100$`}, "-n", "1", "-i", "3", "-C", "r:"+cppload+":known_function():int:$retval").named("argdist of results"),
	bcc("argdist", wants{`count = 65536$`}, "-n", "1", "-i", "5", "-C", "p::vfs_write(struct file *f, const char *buf, size_t count):size_t:count").named("argdist of the kernel"),
	bcc("biolatency", wants{`usecs`, `: [1-9]\d* +\|\*`}, "5", "1"),
	snoops("biosnoop", wants{`^[\d.]+ +\S+ +\d+ +vda +[WR] +\d+ +\d+ +[\d.]+`}),
	bcc("biotop", wants{`^\d+ +\S+ +[WR] +\d+ +\d+ +vda +[1-9]`}, "-C", "5", "1"),
	forAWhile("bitesize", wants{`Process Name = .*dd`, `: [1-9]\d* +\|\*`}),
	snoops("biopattern", wants{`^\d\d:\d\d:\d\d +vda +\d+ +\d+ +[1-9]`}, "3"),
	bcc("cachestat", wants{`^ +[1-9]\d* +\d+ +\d+`}, "5", "2"),
	bcc("cpudist", wants{`: [1-9]\d* +\|\*`}, "3", "1"),
	snoops("dcsnoop", wants{`cat +M +nonexistent$`}),
	snoops("execsnoop", wants{`^true +\d+ +\d+ +0 +/bin/true *$`, `^exe +\d+ +\d+ +0 +/proc/self/exe /etc/hostname *$`}),
	snoops("exitsnoop", wants{`^true +\d+ +\d+ +\d+ +[\d.]+ +0$`, `^cat +\d+ +\d+ +\d+ +[\d.]+ +code 1$`}),
	bcc("ext4dist", wants{`operation = .*(write|read|open|fsync)`, `: [1-9]\d* +\|\*`}, "5", "1"),
	snoops("ext4slower", wants{`dd +\d+ +W +65536 +\d+ +[\d.]+ +file$`, `dd +\d+ +S +0 +0 +[\d.]+ +file$`}, "0"),
	snoops("filelife", wants{`rm +[\d.]+ +renamed$`}),
	snoops("fileslower", wants{`dd +\d+ +W +65536 +[\d.]+ +file$`}, "0"),
	bcc("filetop", wants{`^\d+ +dd +\d+ +[1-9]\d* +\d+ +256 +R +file`}, "-C", "5", "1"),
	bcc("funccount", wants{`do_sys_openat2 +[1-9]`}, "-d", "3", "do_sys_openat2"),
	bcc("funccount", wants{`known_function +[1-9]`}, "-d", "3", cppload+":known_function").named("funccount of a binary"),
	bcc("funclatency", wants{`nsecs`, `: [1-9]\d* +\|\*`}, "-d", "3", "do_sys_openat2"),
	bcc("hardirqs", wants{`^(arch_timer|virtio\S+|\S+) +[1-9]`}, "3", "1"),
	bcc("memleak", wants{`[1-9]\d* bytes in [1-9]\d* allocations from stack`, `leak`}, "-p", "{pid}", "-o", "0", "5", "1"),
	bcc("offcputime", wants{`schedule`, `^    - +cppload \({pid}\)$`, `^        [1-9]\d*$`}, "-p", "{pid}", "3"),
	snoops("opensnoop", wants{`^{pid} +cppload +\d+ +0 +/etc/hostname$`, `cat +-1 +2 +/nonexistent$`}),
	snoops("pidpersec", wants{`PIDs/sec: +[1-9]`}),
	bcc("profile", wants{`^    - +\S+ \(\d+\)$`, `^        [1-9]\d*$`}, "-K", "-F", "99", "10"),
	bcc("runqlat", wants{`usecs`, `: [1-9]\d* +\|\*`}, "3", "1"),
	bcc("runqlen", wants{`runqlen`, `: [1-9]\d* +\|\*`}, "3", "1"),
	snoops("runqslower", wants{`^\d\d:\d\d:\d\d \S+ +\d+ +[1-9]`}, "10"),
	bcc("softirqs", wants{`^(timer|sched|rcu|block) +[1-9]`}, "3", "1"),
	bcc("stackcount", wants{`^  do_sys_openat2$`, `^  (invoke_syscall|el0_svc_common\S*|__x64_sys_openat)$`, `^    [1-9]\d*$`}, "-D", "3", "do_sys_openat2"),
	bcc("stackcount", wants{`^  known_function$`, `^  __libc_start_main`, `^    [1-9]\d*$`}, "-D", "3", "-U", "-p", "{pid}", cppload+":known_function").named("stackcount of a binary"),
	bcc("syscount", wants{`^openat +[1-9]`, `^clock_nanosleep +[1-9]`, `^execve +[1-9]`}, "-d", "5", "-T", "50"),
	bcc("syscount", wants{`^{pid} +cppload +[1-9]`}, "-d", "5", "-P", "-T", "50").named("syscount -P"),
	snoops("tcpaccept", wants{`goload +4 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +8100`}),
	snoops("tcpconnect", wants{`goload +4 +` + connection + ` *$`}),
	snoops("tcpconnlat", wants{`goload +4 +` + connection + ` +[\d.]+$`}),
	snoops("tcplife", wants{`goload +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +8100 +0 +0 +[\d.]+$`}),
	snoops("tcpstates", wants{`127\.0\.0\.1 +\d+ +127\.0\.0\.1 +8100 +CLOSE +-> SYN_SENT`}),
	snoops("tcptracer", wants{`^C +\d+ +goload +4 +127\.0\.0\.1 +127\.0\.0\.1 +\d+ +8100`}),
	snoops("trace", wants{`cppload +known_function +in 99$`, `cppload +known_function +out 100$`, `cppload +do_sys_openat2 +file /etc/hostname$`},
		cppload+`:known_function "in %d", arg1`, "r:"+cppload+`:known_function "out %d", retval`, `do_sys_openat2 "file %s", arg2@user`),
	bcc("vfsstat", wants{`^\d\d:\d\d:\d\d: +[1-9]\d* +[1-9]`}, "5", "1"),
	bcc("wakeuptime", wants{`^    target:`, `^        [1-9]\d*$`}, "3"),
})

func inGuest(rows []Row) []Row {
	for i := range rows {
		rows[i].Family = "bcc, in a guest"
	}
	return rows
}
