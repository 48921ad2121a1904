// Package guests runs real tools against virtual machines whose kernel or
// processor is not this machine's.
package guests

import (
	"cmp"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
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
var chosen = []string{"opensnoop", "trace", "tcpconnect", "stackcount", "offcputime", "argdist of results", "ext4slower", "biolatency"}

// What tools say that fail natively as well.
const (
	noRequests = `blk_account_io_(start|done)`               // they may not be probed
	noSymbols  = `no ext4_file_operations in /proc/kallsyms` // data has no symbols
)

// TestOtherProcessor runs bcc's tools from here against arm64, and checks what
// they print against what the guest's load does.
func TestOtherProcessor(t *testing.T) {
	v := start(t, "6.1-arm64")
	run(t, v, rows(map[string]string{
		"biolatency": noRequests, "biosnoop": noRequests, "biotop": noRequests, "ext4slower": noSymbols, "ext4dist": noSymbols,
	}), suite.Target{URL: v.TargetTCP(), Load: running, RemoteOnly: true})
}

// TestBlockRequests runs the tools for which Linux 6.1 has no probes on 5.10.
func TestBlockRequests(t *testing.T) {
	if !all() {
		t.Skip("another guest would take too long each time: make tools-report runs this")
	}
	v := start(t, "5.10-arm64")
	run(t, v, rows(map[string]string{"ext4slower": noSymbols, "ext4dist": noSymbols}), suite.Target{URL: v.TargetTCP(), Load: running, RemoteOnly: true})
}

// TestNative runs the tools inside of a guest, and from here against it: those
// for which the guest's own load is made, and in another guest all others.
func TestNative(t *testing.T) {
	if !all() {
		t.Skip("another guest would take too long each time: make tools-report runs this")
	}
	t.Run("load", func(t *testing.T) {
		t.Parallel()
		v := startNative(t)
		run(t, v, rows(nil), suite.Target{URL: v.TargetTCP(), Load: running, Parallel: 1})
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

// rows returns the rows to run.
func rows(fails map[string]string) []suite.Row {
	rows := suite.GuestRows(fails)
	if !all() {
		rows = slices.DeleteFunc(rows, func(r suite.Row) bool { return !slices.Contains(chosen, r.Name) })
	}
	return rows
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
	headers, err := exec.Command(bpfctl, "headers", "-t", v.TargetTCP(), "--fetch").Output()
	if err != nil {
		t.Fatalf("headers: %v", err)
	}
	target.Name, target.Bpfctl, target.Parallel, target.Slow = v.Row.Name, bpfctl, cmp.Or(target.Parallel, parallel), 2
	inguest := filepath.Join(t.TempDir(), "inguest")
	if err := testenv.Build(inguest, "bpfd/test/vm/cmd/inguest"); err != nil {
		t.Fatal(err)
	}
	target.Native = []string{inguest, strconv.Itoa(v.Port(guest.CommandPort))}
	if !target.RemoteOnly {
		// busybox's chroot would take its own applets for the programs there.
		target.Native = append(target.Native, "chroot", vm.NativeRoot, "/usr/bin/env")
		// The guest's own PATH finds the same tools under other names.
		target.Env = []string{"BCC_KERNEL_SOURCE=" + strings.TrimSpace(string(headers)), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	suite.Run(t, target, rows)
}

func TestMain(m *testing.M) {
	flag.Parse()
	// A row that waits for its guest must not hold up those of another.
	flag.Set("test.parallel", "1000")
	testenv.Built("bpfctl")
	os.Exit(m.Run())
}
