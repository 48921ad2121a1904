package load

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// counted is what the example's map says of a user.
type counted struct {
	Key   int
	Value map[string]int
}

// traffic reads the example's map with another run.
func traffic(t *testing.T, target, dir string, uid int) map[string]int {
	t.Helper()
	r := mustAt(t, target, "run", "--", "bpftool", "-j", "map", "dump", "pinned", filepath.Join(bpffs, dir, "maps/traffic"))
	var list []struct{ Formatted counted }
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
	for _, e := range list {
		if e.Formatted.Key == uid {
			return e.Formatted.Value
		}
	}
	return nil
}

// example goes the way of doc/load.md on a target: built, loaded, pinned, read
// by another run, unloaded. send sends traffic there as the user uid; types are
// flags of build and load.
func example(t *testing.T, target string, uid int, send func(), types ...string) {
	dir := pinDir(t)
	o := filepath.Join(t.TempDir(), "traffic.o")
	mustAt(t, target, append([]string{"build", "../../doc/examples/traffic.bpf.c", "-o", o}, types...)...)
	r := mustAt(t, target, append([]string{"load", o, "--pin", dir, "--attach"}, types...)...)
	defer runAt(t, target, "unload", dir)
	if !strings.Contains(r.Stdout, "attached count_rx: cgroup ") || !strings.Contains(r.Stdout, "attached count_tx: cgroup ") {
		t.Error(r)
	}
	before := traffic(t, target, dir, uid)
	send()
	after := traffic(t, target, dir, uid)
	for _, field := range []string{"rx_bytes", "rx_packets", "tx_bytes", "tx_packets"} {
		if after[field] <= before[field] {
			t.Errorf("%s was %d before and is %d after", field, before[field], after[field])
		}
	}
	if b := after["tx_bytes"] - before["tx_bytes"]; b < 10*100 {
		t.Errorf("10 packets of 100 bytes and more are counted as %d bytes", b)
	}
	u := mustAt(t, target, "unload", dir)
	if strings.Count(u.Stdout, "removed ") != 5 || u.Stderr != "" {
		t.Error(u)
	}
	if l := mustAt(t, target, "ls"); strings.Contains(l.Stdout, "count_rx") {
		t.Errorf("it is still loaded: %v", l)
	}
}

func TestExample(t *testing.T) {
	uid := 40000 + os.Getpid()%10000
	example(t, "shell:", uid, func() {
		cmd := exec.Command("setpriv", fmt.Sprintf("--reuid=%d", uid), "--clear-groups", "/usr/bin/python3", "-c", `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
for i in range(10):
    s.sendto(b"x" * 100, s.getsockname())
    s.recv(200)
`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
}

// unlink has a kprobe report its arguments; types are flags of build and load.
func unlink(t *testing.T, v *vm.VM, types ...string) {
	o := filepath.Join(t.TempDir(), "unlink.o")
	mustAt(t, v.Target(), append([]string{"build", "testdata/unlink.bpf.c", "-o", o}, types...)...)
	s := startAt(t, v.TargetTCP(), append([]string{o, "--json"}, types...)...)
	v.Sh(t, "touch /tmp/removed-by-test && rm /tmp/removed-by-test")
	want := `"dfd":-100,"name":"/tmp/removed-by-test"`
	testenv.Eventually(t, "the call was not seen", func() bool { return strings.Contains(s.out.String(), want) }, &s.out)
	s.stop(t)
}

// Both on a kernel without BTF, which a file stands in for.
func TestPhone(t *testing.T) {
	v := vm.Start(t, "5.10-phone-arm64")
	btf, err := v.BTF()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("traffic", func(t *testing.T) {
		example(t, v.Target(), 0, func() { v.Sh(t, "ping -c 10 -i 0.1 -s 100 127.0.0.1") }, "--btf", btf)
	})
	t.Run("kprobe", func(t *testing.T) { unlink(t, v, "--btf", btf) })
	t.Run("without", func(t *testing.T) {
		o := filepath.Join(t.TempDir(), "unlink.o")
		mustAt(t, v.Target(), "build", "testdata/unlink.bpf.c", "-o", o, "--btf", btf)
		if r := runAt(t, v.Target(), "load", o); r.Status == 0 || !strings.Contains(r.Stderr, "BTF") {
			t.Error(r)
		}
	})
}

// The example, and a kprobe whose arguments stand in arm64's registers, on a
// machine of another architecture than this one's.
func TestARM64(t *testing.T) {
	v := vm.Start(t, "6.1-arm64")
	t.Run("traffic", func(t *testing.T) {
		example(t, v.Target(), 0, func() { v.Sh(t, "ping -c 10 -i 0.1 -s 100 127.0.0.1") })
	})
	t.Run("kprobe", func(t *testing.T) { unlink(t, v) })
	t.Run("script", func(t *testing.T) {
		// Played into the guest's bpfd as on a device that has no link.
		o, file := filepath.Join(t.TempDir(), "script.o"), filepath.Join(t.TempDir(), "out.txt")
		mustAt(t, v.Target(), "build", "testdata/script.bpf.c", "-o", o, "--", `-DEVENT="sched/sched_process_exec"`)
		must(t, "load", "--script", file, o, "--for", v.Target())
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out := v.Sh(t, "cat >/tmp/commands <<'END'\n"+string(text)+"END\n"+
			"{ cat /tmp/commands; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done; echo BPF_GET_FIRST_KEY 3 4 8 1; } | bpfd")
		if strings.Contains(out, "ret=-") || strings.Contains(out, "not recognized") {
			t.Errorf("bpfd says\n%s", out)
		}
		// Each sleep is a process with an entry of its own: its pid, and 1.
		if n := strings.Count(out, "\nAQAAAAAAAAA=\n"); n < 2 {
			t.Errorf("%d processes were counted\n%s", n, out)
		}
	})
}

// Before Linux 5.15 a tracepoint cannot stay without its loader: that is said,
// and nothing is left. Programs of cgroups can.
func TestOldKernel(t *testing.T) {
	v := vm.Start(t, "5.10-amd64")
	dir := pinDir(t)
	o := source(t, tracepoint(nothing))
	r := runAt(t, v.Target(), "load", o, "--pin", dir, "--attach")
	if r.Status != 125 || !strings.Contains(r.Stderr, "the target's kernel cannot keep prog attached without its loader") || !strings.Contains(r.Stderr, "5.15") {
		t.Error(r)
	}
	left := v.Sh(t, "ls /sys/fs/bpf")
	l := mustAt(t, v.Target(), "ls")
	if strings.Contains(left, dir) || strings.Contains(l.Stdout, " prog ") {
		t.Errorf("something was left: %s%v", left, l)
	}
	mustAt(t, v.Target(), "load", o, "--pin", dir)
	mustAt(t, v.Target(), "unload", dir)
	example(t, v.Target(), 0, func() { v.Sh(t, "ping -c 10 -i 0.1 -s 100 127.0.0.1") })
}
