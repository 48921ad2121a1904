package transport

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/internal/mtls"
	"bpfd/test/testenv"

	"github.com/creack/pty"
)

// systemd is a real one that runs beside this machine's, in namespaces of its
// own. Its network is another one as well.
type systemd struct {
	pid string // of its first process, here
	log testenv.Buffer
}

// startSystemd starts a systemd for which bpfd was installed by "make install".
func startSystemd(t *testing.T) *systemd {
	t.Helper()
	testenv.Need(t, "/lib/systemd/systemd")
	if os.Geteuid() != 0 {
		t.Skip("a systemd of our own needs root")
	}
	sources, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	group := cgroup(t)
	cmd := exec.Command("unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--mount-proc", "--fork",
		"sh", "testdata/systemd.sh", t.TempDir(), sources)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, UseCgroupFD: true, CgroupFD: int(group.Fd())}
	console, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	s := &systemd{}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		io.Copy(&s.log, console) // until the last process has closed it
	}()
	t.Cleanup(func() {
		s.kill()
		cmd.Wait()
		console.Close()
		<-logged
		if t.Failed() {
			t.Logf("systemd says: %s", s.log.String())
		}
	})
	testenv.Eventually(t, "systemd has not started", func() bool {
		return strings.Contains(s.log.String(), "Startup finished")
	}, &s.log)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	s.pid = strings.TrimSpace(string(children))
	return s
}

// kill ends systemd and, as it is the first of its pid namespace, all it started.
func (s *systemd) kill() {
	if pid, err := strconv.Atoi(s.pid); err == nil {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// run runs a program where systemd's network is.
func (s *systemd) run(t *testing.T, args ...string) testenv.Outcome {
	t.Helper()
	return testenv.Run(t, append([]string{"nsenter", "--target", s.pid, "--net", "--"}, args...)...)
}

// systemctl runs systemctl where systemd is.
func (s *systemd) systemctl(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"nsenter", "--target", s.pid, "--mount", "--pid", "--net", "--", "systemctl"}, args...)
	return testenv.Must(t, testenv.Run(t, args...)).Stdout
}

// listens waits until somebody listens on a port.
func (s *systemd) listens(t *testing.T, port int) {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("nobody listens on port %d", port), func() bool {
		var tables strings.Builder
		for _, name := range []string{"tcp", "tcp6"} {
			table, err := os.ReadFile("/proc/" + s.pid + "/net/" + name)
			if err != nil {
				t.Fatal(err)
			}
			tables.Write(table)
		}
		return strings.Contains(tables.String(), fmt.Sprintf(":%04X ", port))
	})
}

// root returns where a file of systemd's is.
func (s *systemd) root(path string) string { return "/proc/" + s.pid + "/root" + path }

// cgroup makes a control group for a process that takes it for the root.
func cgroup(t *testing.T) *os.File {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(f[1], "bpfd-test-")
		if err != nil {
			t.Skipf("no control group can be made here: %v", err)
		}
		t.Cleanup(func() { removeGroup(t, dir) })
		group, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { group.Close() })
		return group
	}
	t.Skip("no cgroup2 is mounted here, which systemd needs")
	return nil
}

// removeGroup removes a control group and those in it, once their processes are gone.
func removeGroup(t *testing.T, dir string) {
	var err error
	for range 100 {
		var groups []string
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for i := len(groups) - 1; i >= 0; i-- {
			err = os.Remove(groups[i])
		}
		if _, gone := os.Stat(dir); gone != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("a control group is left: %v", err)
}

// The commands of the README keep bpfd reachable, under a real systemd, with all that they
// take from bpfd.
func TestSystemd(t *testing.T) {
	s := startSystemd(t)
	s.systemctl(t, "enable", "--now", "bpfd.socket")
	url := "unix:" + s.root("/run/bpfd.sock")
	t.Run("tools", func(t *testing.T) { systemdTools(t, url) })
	t.Run("who may", func(t *testing.T) { systemdGroup(t, s, url) })
	t.Run("tls", func(t *testing.T) { systemdTLS(t, s) })
	t.Run("connections", func(t *testing.T) { systemdConnections(t, url) })
	if out := s.systemctl(t, "list-units", "--failed", "--no-legend", "--plain", "bpfd*"); out != "" {
		t.Errorf("units failed: %s", out)
	}
}

// systemdTools runs tools against a bpfd that has no more than its unit leaves it.
func systemdTools(t *testing.T, url string) {
	libc, _ := filepath.Glob("/lib/*-linux-gnu*/libc.so.6")
	if len(libc) == 0 {
		t.Fatal("this machine has no libc")
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"programs", []string{"bpftool", "feature", "probe", "kernel"}, "eBPF program_type kprobe is available"},
		{"tracepoint", []string{"bpftrace", "-e", `tracepoint:syscalls:sys_enter_nanosleep,tracepoint:syscalls:sys_enter_clock_nanosleep,tracepoint:syscalls:sys_enter_openat { @n = count(); }
			interval:s:2 { exit(); }`}, "@n: "},
		{"symbols", []string{"bpftrace", "-e", "profile:hz:99 { @[kstack(1)] = count(); } interval:s:1 { exit(); }"}, "+"},
		{"uprobe", []string{"bpftrace", "-e", "uprobe:" + libc[0] + ":read { @n = count(); } interval:s:2 { exit(); }"}, "@n: "},
		{"perf events", []string{"bpftrace", "-e", "software:cpu-clock:100000 { @n = count(); } interval:s:1 { exit(); }"}, "@n: "},
		{"map", []string{"bpftool", "map", "create", "/sys/fs/bpf/bpfd-systemd-test", "type", "hash", "key", "4", "value", "4", "entries", "8", "name", "m"}, ""},
		{"pinned", []string{"bpftool", "map", "show", "pinned", "/sys/fs/bpf/bpfd-systemd-test"}, "hash"},
		{"unpin", []string{"rm", "/sys/fs/bpf/bpfd-systemd-test"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if o := testenv.RunRemote(t, url, c.args...); o.Status != 0 || !strings.Contains(o.Stdout, c.want) {
				t.Errorf("%v; want %q", o, c.want)
			}
		})
	}
}

// systemdGroup checks that the socket is for root and the group bpfd.
func systemdGroup(t *testing.T, s *systemd, url string) {
	groups, err := os.ReadFile(s.root("/etc/group"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(groups), "\nbpfd:x:")
	gid, _, _ := strings.Cut(after, ":")
	for _, c := range []struct{ group, says string }{{gid, ""}, {"65534", "permission denied"}} {
		// The path leads through /proc/PID/root, which others may not pass.
		o := testenv.Run(t, "nsenter", "--target", s.pid, "--mount", "--net", "--",
			"setpriv", "--reuid", "65534", "--regid", c.group, "--clear-groups", "env", "HOME=/nonexistent",
			"/usr/local/bin/bpfctl", "ps", "-t", "unix:/run/bpfd.sock")
		if c.says == "" && (o.Status != 0 || !strings.Contains(o.Stdout, "systemd")) {
			t.Errorf("group %s: %v", c.group, o)
		}
		if c.says != "" && (o.Status == 0 || !strings.Contains(o.Stderr, c.says)) {
			t.Errorf("group %s: %v; want %q", c.group, o, c.says)
		}
	}
}

// systemdConnections opens more connections than the socket allows.
func systemdConnections(t *testing.T, url string) {
	const most = 16
	for range most {
		conn := dial(t, url)
		defer conn.Kill()
	}
	if o := testenv.Run(t, bpfctl, "ps", "-t", url); o.Status == 0 || !strings.Contains(o.Stderr, "serves as many connections as it may") {
		t.Errorf("beyond %d connections: %v", most, o)
	}
}

// systemdTLS reaches bpfd-tls.service, whose certificates are where the README
// says.
func systemdTLS(t *testing.T, s *systemd) {
	ca := authority(t)
	t.Setenv("BPFD_TLS", ca)
	dir := s.root("/etc/bpfd/tls")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	issue(t, ca, dir, mtls.Target, time.Hour, "127.0.0.1")
	testenv.Must(t, testenv.Run(t, "nsenter", "--target", s.pid, "--mount", "--", "chown", "-R", "bpfd:bpfd", "/etc/bpfd"))
	s.systemctl(t, "enable", "--now", "bpfd-tls")
	s.listens(t, 2017)
	o := s.run(t, testenv.Remote("tcp://127.0.0.1:2017", "bpftrace", "-e", "BEGIN { printf(\"by TLS\\n\"); exit(); }")...)
	if o.Status != 0 || !strings.Contains(o.Stdout, "by TLS") {
		t.Error(o)
	}
	// The process that faces the network has no capability.
	pid := strings.TrimSpace(s.systemctl(t, "show", "--property", "MainPID", "--value", "bpfd-tls.service"))
	status, err := os.ReadFile(s.root("/proc/" + pid + "/status"))
	if err != nil || !strings.Contains(string(status), "CapBnd:\t0000000000000000") {
		t.Errorf("%s, %v", status, err)
	}
	t.Setenv("BPFD_TLS", authority(t)) // another one's
	if o := s.run(t, bpfctl, "ps", "-t", "tcp://127.0.0.1:2017"); o.Status == 0 {
		t.Errorf("served with a foreign certificate: %v", o)
	}
}
