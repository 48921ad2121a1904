package load

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/test/vm"
)

// machine boots a virtual machine, or skips the test if that cannot be done.
func machine(t *testing.T, name string) *vm.VM {
	t.Helper()
	row, err := vm.RowOf(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{row.QEMU(), "socat"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", tool)
			}
			t.Skipf("this machine has no %s; test/install installs it", tool)
		}
	}
	return vm.Start(t, name)
}

// script runs a script in the guest.
func script(t *testing.T, v *vm.VM, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := v.Run(ctx, text)
	if err != nil || r.Status != 0 {
		t.Fatalf("%s: %v: %v", text, err, r)
	}
	return r.Stdout
}

// counted is what the example's map says of a user.
type counted struct {
	Key   int
	Value map[string]int
}

// traffic reads the example's map with another run.
func traffic(t *testing.T, target, dir string, uid int) map[string]int {
	t.Helper()
	r := must(t, runAt(t, target, "run", "--", "bpftool", "-j", "map", "dump", "pinned", filepath.Join(bpffs, dir, "maps/traffic")))
	var list []struct{ Formatted counted }
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
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
// by another run, unloaded. send sends traffic there as the user uid.
func example(t *testing.T, target string, uid int, send func()) {
	dir := pinDir(t)
	o := filepath.Join(t.TempDir(), "traffic.o")
	must(t, runAt(t, target, "build", "../../doc/examples/traffic.bpf.c", "-o", o))
	r := must(t, runAt(t, target, "load", o, "--pin", dir, "--attach"))
	defer runAt(t, target, "unload", dir)
	if !strings.Contains(r.out, "attached count_rx: cgroup ") || !strings.Contains(r.out, "attached count_tx: cgroup ") {
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
	u := must(t, runAt(t, target, "unload", dir))
	if strings.Count(u.out, "removed ") != 5 || u.errs != "" {
		t.Error(u)
	}
	if l := must(t, runAt(t, target, "ls")); strings.Contains(l.out, "count_rx") {
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

// The example, and a kprobe whose arguments stand in arm64's registers, on a
// machine of another architecture than this one's.
func TestARM64(t *testing.T) {
	v := machine(t, "6.1-arm64")
	t.Run("traffic", func(t *testing.T) {
		example(t, v.Target(), 0, func() { script(t, v, "ping -c 10 -i 0.1 -s 100 127.0.0.1") })
	})
	t.Run("kprobe", func(t *testing.T) {
		o := filepath.Join(t.TempDir(), "unlink.o")
		must(t, runAt(t, v.Target(), "build", "testdata/unlink.bpf.c", "-o", o))
		s := startAt(t, v.TargetTCP(), o, "--json")
		script(t, v, "touch /tmp/removed-by-test && rm /tmp/removed-by-test")
		want := `"dfd":-100,"name":"/tmp/removed-by-test"`
		eventually(t, "the call was not seen", &s.out, func() bool { return strings.Contains(s.out.String(), want) })
		s.stop(t)
	})
	t.Run("script", func(t *testing.T) {
		// Played into the guest's bpfd as on a device that has no link.
		o, file := filepath.Join(t.TempDir(), "script.o"), filepath.Join(t.TempDir(), "out.txt")
		must(t, runAt(t, v.Target(), "build", "testdata/script.bpf.c", "-o", o, "--", `-DEVENT="sched/sched_process_exec"`))
		must(t, run(t, "load", "--script", file, o, "--for", v.Target()))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out := script(t, v, "cat >/tmp/commands <<'END'\n"+string(text)+"END\n"+
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
	v := machine(t, "5.10-amd64")
	dir := pinDir(t)
	o := source(t, tracepoint(nothing))
	r := runAt(t, v.Target(), "load", o, "--pin", dir, "--attach")
	if r.status != 125 || !strings.Contains(r.errs, "the target's kernel cannot keep prog attached without its loader") || !strings.Contains(r.errs, "5.15") {
		t.Error(r)
	}
	left := script(t, v, "ls /sys/fs/bpf")
	l := must(t, runAt(t, v.Target(), "ls"))
	if strings.Contains(left, dir) || strings.Contains(l.out, " prog ") {
		t.Errorf("something was left: %s%v", left, l)
	}
	must(t, runAt(t, v.Target(), "load", o, "--pin", dir))
	must(t, runAt(t, v.Target(), "unload", dir))
	example(t, v.Target(), 0, func() { script(t, v, "ping -c 10 -i 0.1 -s 100 127.0.0.1") })
}
