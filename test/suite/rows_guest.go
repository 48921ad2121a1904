package suite

import "slices"

// forAWhile is a bcc tool that prints when it is interrupted. Without
// --foreground it would be twice, and the second time while it prints.
func forAWhile(name string, want wants, args ...string) Row {
	row := bcc(name, want, args...)
	row.Args = append([]string{"timeout", "--foreground", "--preserve-status", "-s", "INT", "45"}, row.Args...)
	return row
}

const (
	cppload    = "/proc/{pid}/root/bin/cppload"
	goload     = "/proc/{pid}/root/bin/goload"
	connection = `127\.0\.0\.1 +127\.0\.0\.1 +8100`
)

// GuestRows are tools on test/vm's load: what must be seen are names, arguments
// and results that only that load has. {pid} is cppload. Rows named in fails, as
// FAMILY/NAME, must fail and say what matches.
func GuestRows(fails map[string]string) []Row { return failing(guestRows, fails) }

func failing(rows []Row, fails map[string]string) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		if says := fails[rows[i].Family+"/"+rows[i].Name]; says != "" {
			rows[i].Fails, rows[i].Interrupt, rows[i].Want = true, false, wants{says}
		}
	}
	return rows
}

// guestRows are all of them.
var guestRows = inGuest(bccGuestRows, libbpfGuestRows, bpftraceGuestRows)

const (
	inAGuest   = ", in a guest"
	bccInGuest = "bcc" + inAGuest
)

// inGuest returns rows under families of their own.
func inGuest(tables ...[]Row) []Row {
	rows := slices.Concat(tables...)
	for i := range rows {
		rows[i].Family += inAGuest
	}
	return rows
}

// RegisterRows are those of GuestRows whose programs were compiled for this
// machine and read registers, translated for the target.
func RegisterRows(fails map[string]string) []Row { return failing(registerRows, fails) }

var registerRows = translated(guestRows)

func translated(rows []Row) []Row {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return !r.Registers })
	for i := range rows {
		rows[i].Family += ", --registers"
		rows[i].Flags = []string{"--registers"}
	}
	return rows
}

// registers marks a row whose program reads registers.
func (row Row) registers() Row {
	row.Registers = true
	return row
}

var bccGuestRows = []Row{
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
	bcc("funccount", wants{`main\.goSquare +[1-9]`}, "-d", "3", goload+":main.goSquare").named("funccount of Go"),
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
	bcc("stackcount", wants{`^  known_function$`, `^  __libc_start_(call_)?main`, `^    [1-9]\d*$`}, "-D", "3", "-U", "-p", "{pid}", cppload+":known_function").named("stackcount of a binary"),
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
	snoops("trace", wants{`cppload +_ZN4load5twiceEiPKc +21 twenty-one$`, `cppload +_ZN4load5twiceEiPKc +returned 42$`},
		cppload+`:_ZN4load5twiceEiPKc "%d %s", arg1, arg2`, "r:"+cppload+`:_ZN4load5twiceEiPKc "returned %d", retval`).named("trace of C++"),
	bcc("vfsstat", wants{`^\d\d:\d\d:\d\d: +[1-9]\d* +[1-9]`}, "5", "1"),
	bcc("wakeuptime", wants{`^    target:`, `^        [1-9]\d*$`}, "3"),
}

var libbpfGuestRows = []Row{
	libbpf("biolatency", wants{`usecs`, `: [1-9]\d* +\|\*`}, "5", "1"),
	snoop("biopattern", wants{`^vda +\d+ +\d+ +[1-9]`}, "3"),
	snoop("biosnoop", wants{`^[\d.]+ +\S+ +\d+ +vda +[WR]\S* +\d+ +\d+ +[\d.]+`}),
	libbpf("biotop", wants{`^\d+ +\S+ +[WR] +\d+ +\d+ +vda +[1-9]`}, "-C", "5", "1").registers(),
	snoop("bitesize", wants{`Process Name = .*dd`, `: [1-9]\d* +\|\*`}, "5"),
	libbpf("cachestat", wants{`^ +[1-9]\d* +\d+ +\d+`}, "5", "2"),
	libbpf("cpudist", wants{`: [1-9]\d* +\|\*`}, "3", "1"),
	snoop("execsnoop", wants{`^true +\d+ +\d+ +0 +/bin/true *$`}),
	snoop("exitsnoop", wants{`^true +\d+ +\d+ +\d+ +[\d.]+ +0$`, `^cat +\d+ +\d+ +\d+ +[\d.]+ +code 1$`}),
	libbpf("ext4dist", wants{`operation = .*(write|read|open|fsync)`, `: [1-9]\d* +\|\*`}, "5", "1"),
	snoop("ext4slower", wants{`dd +\d+ +W +65536 +\d+ +[\d.]+ +file$`, `dd +\d+ +F +LL_MAX +0 +[\d.]+ +file$`}, "-m", "0").registers(),
	snoop("filelife", wants{`rm +[\d.]+ +renamed$`}).registers(),
	libbpf("filetop", wants{`^\d+ +dd +0 +[1-9]\d* +0 +256 +R +file`}, "-C", "5", "1").registers(),
	libbpf("funclatency", wants{`usec`, `: [1-9]\d* +\|\*`}, "-u", "-d", "3", "vfs_read"),
	libbpf("hardirqs", wants{`^\S+ +[1-9]`}, "3", "1"),
	libbpf("offcputime", wants{`schedule`, `^    - +cppload \(\d+\)$`, `^        [1-9]\d*$`}, "-p", "{pid}", "3"),
	snoop("opensnoop", wants{`^{pid} +cppload +\d+ +0 +/etc/hostname$`, `cat +-1 +2 +/nonexistent$`}),
	libbpf("runqlat", wants{`usecs`, `: [1-9]\d* +\|\*`}, "3", "1"),
	libbpf("runqlen", wants{`runqlen`, `: [1-9]\d* +\|\*`}, "3", "1"),
	snoop("runqslower", wants{`^\d\d:\d\d:\d\d +\S+ +\d+ +[1-9]`}, "10"),
	libbpf("softirqs", wants{`^(timer|sched|rcu|block) +[1-9]`}, "3", "1"),
	libbpf("syscount", wants{`^openat +[1-9]`, `^clock_nanosleep +[1-9]`}, "-d", "5", "-T", "50"),
	snoop("tcpconnect", wants{`goload +4 +` + connection + ` *$`}).registers(),
	snoop("tcpconnlat", wants{`goload +4 +` + connection + ` +[\d.]+$`}).registers(),
	snoop("tcplife", wants{`goload +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +8100 +[\d.]+ +[\d.]+ +[\d.]+$`}),
	libbpf("tcprtt", wants{`usecs`, `: [1-9]\d* +\|\*`}, "-d", "5", "-i", "5").registers(),
	snoop("tcpstates", wants{`127\.0\.0\.1 +\d+ +127\.0\.0\.1 +8100 +CLOSE +-> SYN_SENT`}),
	snoop("tcptracer", wants{`^C +\d+ +goload +4 +127\.0\.0\.1 +127\.0\.0\.1 +\d+ +8100`}).registers(),
	libbpf("vfsstat", wants{`^\d\d:\d\d:\d\d: +[1-9]\d* +[1-9]`}, "5", "1"),
	libbpf("wakeuptime", wants{`^\ttarget:`, `^\t\d+$`}, "3"),
}

var bpftraceGuestRows = []Row{
	exact("BEGIN", `BEGIN { printf("hello %d\n", 42); exit(); }`, `^hello 42$`),
	one("tracepoint", `tracepoint:syscalls:sys_enter_openat { printf("open %s by %s\n", str(args->filename), comm); }`,
		`^open /etc/hostname by cppload$`, `^open /nonexistent by cat$`).interrupted(),
	one("tracepoint of programs", `tracepoint:sched:sched_process_exec { printf("exec %s\n", str(args->filename)); }`, `^exec /bin/true$`).interrupted(),
	one("kprobe", `kprobe:vfs_read { @[comm] = count(); }`+exits, `^@\[goload\]: [1-9]`),
	one("kprobe of an argument", `kprobe:vfs_write { @[arg2] = count(); }`+exits, `^@\[65536\]: [1-9]`).registers(),
	one("kretprobe", `kretprobe:vfs_write /comm == "dd"/ { @[retval] = count(); }`+exits, `^@\[65536\]: [1-9]`).registers(),
	one("uprobe", `uprobe:`+cppload+`:known_function { @[comm] = count(); }`+exits, `^@\[cppload\]: [1-9]`),
	one("uprobe of an argument", `uprobe:`+cppload+`:known_function { printf("in %d\n", arg0); } uretprobe:`+cppload+`:known_function { printf("out %d\n", retval); }`, `^in 99$`, `^out 100$`).interrupted().registers(),
	one("uprobe of Go", `uprobe:`+goload+`:main.goSquare { @[comm] = count(); }`+exits, `^@\[goload\]: [1-9]`),
	one("kstack", `tracepoint:sched:sched_switch { @[kstack(3)] = count(); }`+exits, `__schedule\+`, `^\]: [1-9]`),
	one("ustack", `uprobe:`+cppload+`:known_function { @[ustack(3)] = count(); }`+exits, `^    known_function\+0$`, `^    __libc_start_\w+\+\d+$`),
	one("curtask", `interval:ms:100 { @[((struct task_struct *)curtask)->tgid == pid] = count(); }`+exits, `^@\[1\]: [1-9]`),
}
