package vm_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// identityCPUs is how many processors the guest has: no machine that builds
// this has as many by chance.
const identityCPUs = 3

// What a tool sees of the machine that it runs on is the target's, where host
// and target differ in everything.
func TestIdentity(t *testing.T) {
	testenv.Need(t, "python3")
	v := vm.Start(t, "6.1-arm64", vm.WithCPUs(identityCPUs))
	v.Sh(t, "mkdir -p /sys/fs/cgroup/probed/inner")
	// The same on both sides, and not what the host would say.
	for name, script := range map[string]string{
		"uname":      "uname -srnm",
		"processors": "cat /sys/devices/system/cpu/possible /sys/devices/system/cpu/online",
		"init":       "cat /proc/1/comm",
		"namespaces": "for n in net mnt pid uts ipc cgroup; do readlink /proc/1/ns/$n; done",
		"cgroups":    "stat -c '%i %n' /sys/fs/cgroup /sys/fs/cgroup/probed /sys/fs/cgroup/probed/inner",
		"symbols":    "grep -m 1 ' __arm64_sys_bpf$' /proc/kallsyms",
		"boot":       "cat /proc/sys/kernel/random/boot_id",
		"modules":    "cat /proc/modules | cut -d' ' -f1",
		"events":     "cat /sys/bus/event_source/devices/kprobe/type /sys/bus/event_source/devices/uprobe/type",
	} {
		t.Run(name, func(t *testing.T) {
			want := v.Sh(t, script)
			if got := remote(t, v.TargetTCP(), "sh", "-c", script); got != want {
				t.Errorf("the tool sees\n%sthe guest\n%s", got, want)
			}
			if here, _ := exec.Command("sh", "-c", script).Output(); string(here) == want {
				t.Errorf("host and guest are alike: %s", want)
			}
		})
	}
	t.Run("count", func(t *testing.T) {
		if got := remote(t, v.TargetTCP(), "getconf", "_NPROCESSORS_CONF"); got != fmt.Sprintln(identityCPUs) {
			t.Errorf("the tool counts %s processors", got)
		}
	})
	t.Run("clocks", func(t *testing.T) {
		before := uptime(t, v.Sh(t, "cat /proc/uptime"))
		out := remote(t, v.TargetTCP(), "python3", "-c", "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME)); print(time.monotonic())")
		after := uptime(t, v.Sh(t, "cat /proc/uptime"))
		for line := range strings.Lines(out) {
			if got := uptime(t, line); got < before-clockError || got > after+clockError {
				t.Errorf("the tool's clock says %v; the guest is up since %v to %v", got, before, after)
			}
		}
	})
	t.Run("limit of locked memory", func(t *testing.T) {
		// By which kernels before 5.11 count maps; raising it may be forbidden here.
		out := remote(t, v.TargetTCP(), "python3", "-c", `from resource import *
for limit in (4096, 8192), (RLIM_INFINITY, RLIM_INFINITY):
    setrlimit(RLIMIT_MEMLOCK, limit)
    print(*getrlimit(RLIMIT_MEMLOCK))`)
		if out != "4096 8192\n-1 -1\n" {
			t.Errorf("the tool's limits are %s", out)
		}
	})
	t.Run("pid", func(t *testing.T) { ownPid(t, v) })
}

// clockError is how far the tool's clocks may be from the target's.
const clockError = 2 * time.Second

func uptime(t *testing.T, s string) time.Duration {
	t.Helper()
	f := strings.Fields(s)
	if len(f) == 0 {
		t.Fatal("no uptime")
	}
	sec, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(sec * float64(time.Second))
}

// ownPid checks that the tool's process id is that of its bpfd in the guest.
func ownPid(t *testing.T, v *vm.VM) {
	said := begin(t, v.TargetTCP(), "echo $$; exec sleep 1000")
	r, err := v.Run(t.Context(), "readlink /proc/"+said+"/exe")
	if err != nil || r.Stdout != "/bin/bpfd\n" {
		t.Errorf("in the guest, process %s is %v: %v", said, r, err)
	}
}

// begin starts a shell script as a tool and returns its first line.
func begin(t *testing.T, target, script string) string {
	t.Helper()
	args := testenv.Remote(target, "sh", "-c", script)
	cmd := exec.Command(args[0], args[1:]...)
	line, err := bufio.NewReader(testenv.Output(t, cmd)).ReadString('\n')
	if err != nil {
		t.Errorf("the tool said %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// A guest that is powered off in the middle ends the tool, and bpfctl says which
// target is gone.
func TestPowerOff(t *testing.T) {
	v := vm.Start(t, "6.1-arm64")
	line := testenv.Remote(v.TargetTCP(), "sh", "-c", "echo begun; exec sleep 1000")
	cmd := exec.Command(line[0], line[1:]...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out := testenv.Output(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("the tool said %q: %v", line, err)
	}
	v.PowerOff()
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 125 {
		t.Errorf("status %d", status)
	}
	if said := errs.String(); !strings.Contains(said, v.TargetTCP()) {
		t.Errorf("the target is not named: %s", said)
	}
}
