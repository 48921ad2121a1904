// Package guests runs real tools against virtual machines whose kernel or
// processor is not this machine's.
package guests

import (
	"cmp"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bpfd/test/suite"
	"bpfd/test/testenv"
	"bpfd/test/vm"
	"bpfd/test/vm/guest"
)

var bpfctl = testenv.Bin("bpfctl")

// parallel is how many rows run at a time: a guest is slow, and two processors
// emulate it.
const parallel = 2

// chosen are the rows that are run each time. With -results all are run.
var chosen = []string{"opensnoop", "trace", "tcpconnect", "stackcount", "offcputime", "argdist of results", "ext4slower", "biolatency", "kretprobe"}

// other is a guest that has no tools, whose processor is not this machine's.
type other struct {
	name   string
	always bool              // in CI, too; another guest would take too long each time
	noBCC  bool              // Debian 12's does not compile with the headers of such a kernel
	fails  map[string]string // rows that cannot run there, and what they say
	lacks  map[string]string // rows that run there and show nothing, natively as well, and why
}

// What tools say where they cannot run; natively it is the same, but for the
// registers.
const (
	noRequests  = `blk_account_io_(start|done)`               // they may not be probed
	noSymbols   = `no ext4_file_operations in /proc/kallsyms` // data has no symbols
	noFentry    = `FENTRY/FEXIT program can only be attached to another program annotated with BTF`
	noSyscalls  = `the kernel has no tracepoints at system calls`
	noType      = `failed to find kernel BTF type ID of`
	noArgument  = `block_rq_issue': Invalid argument|func 'block_rq_issue' doesn't have 2-th argument` // it was taken away in 5.10.137
	noGroups    = `failed to resolve CO-RE relocation <byte_off> \[\d+\] struct task_struct.se.cfs_rq`
	notRegister = `the tool reads the register \w+ of \w+, and the target is arm64: its program was refused`
	notFields   = `failed to resolve CO-RE relocation <byte_off> \[\d+\] struct pt_regs.*`
)

// registers are what rows of programs that were compiled for this machine say,
// where they are not translated.
func registers() map[string]string {
	fails := map[string]string{}
	for _, row := range suite.GuestRows(nil) {
		if row.Registers {
			fails[row.Family+"/"+row.Name] = notRegister + "|" + notFields
		}
	}
	return fails
}

var others = []other{
	{name: "6.1-arm64", always: true, fails: map[string]string{
		"bcc, in a guest/biolatency": noRequests, "bcc, in a guest/biosnoop": noRequests, "bcc, in a guest/biotop": noRequests,
		"bcc, in a guest/ext4slower": noSymbols, "bcc, in a guest/ext4dist": noSymbols,
		"libbpf-tools, in a guest, --registers/biotop": `failed to load attach blk_account_io_start`,
		"libbpf-tools, in a guest/cachestat":           noType, "libbpf-tools, in a guest/biosnoop": noType,
	}},
	{name: "5.10-arm64", fails: map[string]string{
		"bcc, in a guest/ext4slower": noSymbols, "bcc, in a guest/ext4dist": noSymbols,
		"libbpf-tools, in a guest/biolatency": noArgument, "libbpf-tools, in a guest/bitesize": `dereference of modified ctx ptr`,
		"libbpf-tools, in a guest/cachestat": `failed to attach: ERROR: strerror_r\(-524\)`, "libbpf-tools, in a guest/biosnoop": notFields,
		"bpftrace, in a guest/curtask": `Unknown struct/union: 'struct task_struct'`, // its BTF has an id since Linux 5.11
	}},
	{name: "5.10-phone-arm64", always: true, fails: map[string]string{
		"libbpf-tools, in a guest/execsnoop": noSyscalls, "libbpf-tools, in a guest/opensnoop": noSyscalls, "bpftrace, in a guest/tracepoint": noSyscalls,
		"libbpf-tools, in a guest/biosnoop": noFentry, "libbpf-tools, in a guest/bitesize": noFentry, "libbpf-tools, in a guest/cachestat": noFentry,
		"libbpf-tools, in a guest/offcputime": noFentry, "libbpf-tools, in a guest/wakeuptime": noFentry,
		"libbpf-tools, in a guest/biolatency": noArgument, "libbpf-tools, in a guest/runqlen": noGroups,
		"bcc, in a guest/runqlen": `no member named 'cfs_rq'`, "bcc, in a guest/filelife": `the kernel has no function security_inode_create`,
	}},
	{name: "6.12-arm64", noBCC: true, fails: map[string]string{
		"libbpf-tools, in a guest/cachestat": noType, "libbpf-tools, in a guest/biosnoop": notFields,
		"libbpf-tools, in a guest, --registers/biotop": `failed to load attach blk_account_io_start`,
		// By fentry, whose arguments need no registers.
		"libbpf-tools, in a guest/tcprtt": "", "libbpf-tools, in a guest/tcpconnlat": "",
	}, lacks: map[string]string{
		"libbpf-tools, in a guest, --registers/filelife": "it was written before Linux 6.3, in which vfs_unlink has other arguments",
	}},
}

// TestOtherProcessor runs tools from here against arm64, and checks what they
// print against what the guest's load does.
func TestOtherProcessor(t *testing.T) {
	if runtime.GOARCH == "arm64" {
		t.Skip("this machine has the guests' processor")
	}
	for _, o := range others {
		t.Run(o.name, func(t *testing.T) {
			if !o.always && !all() {
				t.Skip(tooLong)
			}
			v := start(t, o.name)
			lacks := func(r suite.Row) string { return o.lacks[r.Family+"/"+r.Name] }
			run(t, v, o.rows(), suite.Target{URL: v.TargetTCP(), Load: running, RemoteOnly: true, Lacks: lacks})
		})
	}
}

// rows returns the rows to run on a guest.
func (o other) rows() []suite.Row {
	fails := registers()
	maps.Copy(fails, o.fails)
	return slices.DeleteFunc(chosenOf(suite.GuestRows(fails), suite.RegisterRows(fails)), func(r suite.Row) bool {
		return o.noBCC && strings.HasPrefix(r.Family, "bcc")
	})
}

// TestNative runs the tools inside of a guest, and from here against it: those
// for which the guest's own load is made, and in another guest all others.
func TestNative(t *testing.T) {
	if !all() {
		t.Skip(tooLong)
	}
	t.Run("load", func(t *testing.T) {
		t.Parallel()
		v := startNative(t)
		run(t, v, suite.GuestRows(nil), suite.Target{URL: v.TargetTCP(), Load: running, Parallel: 1})
	})
	// The suite's own load runs the programs of the guest's second root, which
	// a bpfd that sees the first one does not have.
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		v := startNative(t)
		v.Sh(t, "killall load goload cppload")
		run(t, v, suite.OtherBccRows(), suite.Target{URL: v.TargetNative(), Dir: t.TempDir(), Parallel: 1})
	})
}

// startNative boots a guest that has this machine's tools. One thread emulates
// it, so that one tool at a time is enough.
func startNative(t *testing.T) *vm.VM {
	v := start(t, "6.1-amd64", vm.WithNative())
	v.Sh(t, "while [ ! -e "+vm.NativeRoot+" ]; do sleep 1; done")
	return v
}

// all returns whether all rows and guests are wanted.
func all() bool { return flag.Lookup("results").Value.String() != "" }

// tooLong is why some guests are not there each time.
const tooLong = "another guest would take too long each time: make tools-report runs this"

// chosenOf returns the rows to run of tables.
func chosenOf(tables ...[]suite.Row) []suite.Row {
	return slices.DeleteFunc(slices.Concat(tables...), func(r suite.Row) bool { return !all() && !slices.Contains(chosen, r.Name) })
}

// start boots a guest with a load.
func start(t *testing.T, name string, opts ...vm.Option) *vm.VM {
	testenv.Need(t, "trace-bpfcc", "apt-get", "dpkg-deb", "/sbin/mkfs.ext4")
	return vm.Start(t, name, append(opts, vm.WithLoad())...)
}

// running waits for the load that the guest runs by itself.
var running = []string{"sh", "-c", `while ! pid=$(pidof cppload); do sleep 1; done; echo $pid $pid $pid; exec sleep 1000000`}

// run runs rows on a guest.
func run(t *testing.T, v *vm.VM, rows []suite.Row, target suite.Target) {
	headers := fetchHeaders(t, v)
	target.Name, target.Bpfctl, target.Parallel, target.Slow = v.Row.Name, bpfctl, cmp.Or(target.Parallel, parallel), 2
	inguest := filepath.Join(t.TempDir(), "inguest")
	if err := testenv.Build(inguest, "bpfd/test/vm/cmd/inguest"); err != nil {
		t.Fatal(err)
	}
	if btf, err := v.BTF(); err == nil {
		target.Flags = []string{"--btf", btf}
	}
	target.Native = []string{inguest, strconv.Itoa(v.Port(guest.CommandPort))}
	if !target.RemoteOnly {
		// busybox's chroot would take its own applets for the programs there.
		target.Native = append(target.Native, "chroot", vm.NativeRoot, "/usr/bin/env")
		// The guest's own PATH finds the same tools under other names.
		target.Env = []string{"BCC_KERNEL_SOURCE=" + headers, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	suite.Run(t, target, rows)
}

// fetchHeaders returns the directory of the headers for a guest's kernel. A
// phone's kernel holds its own.
func fetchHeaders(t *testing.T, v *vm.VM) string {
	args := []string{bpfctl, "headers", "-t", v.TargetTCP()}
	if v.Row.Source == "" {
		args = append(args, "--fetch")
	}
	return strings.TrimSpace(testenv.Must(t, testenv.Run(t, args...)).Stdout)
}

func TestMain(m *testing.M) {
	flag.Parse()
	// A row that waits for its guest must not hold up those of another.
	flag.Set("test.parallel", "1000")
	testenv.Built("bpfctl")
	os.Exit(m.Run())
}
