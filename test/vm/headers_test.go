package vm_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/vm"
)

// A tool of bcc's runs against Debian's kernel with the headers that bpfctl
// fetches, and nothing that names them. The guest shows no BTF but what --btf
// brings.
func TestHeaders(t *testing.T) {
	row, err := vm.RowOf("6.1-amd64")
	if err != nil {
		t.Fatal(err)
	}
	need(t, row, "opensnoop-bpfcc", "exitsnoop", "apt-get", "dpkg-deb")
	t.Setenv("XDG_CACHE_HOME", cacheWith(t))
	t.Setenv("BCC_KERNEL_SOURCE", "")
	v := vm.Start(t, row.Name, vm.WithLoad())
	target := v.TargetTCP()
	out, err := exec.Command(bpfctl, "headers", "-t", target).CombinedOutput()
	if want := "linux-headers-" + v.Release + " of Debian bookworm"; err != nil || !strings.Contains(string(out), want) {
		t.Fatalf("%v: %s", err, out)
	}
	var errs strings.Builder
	fetch := exec.Command(bpfctl, "headers", "-t", target, "--fetch")
	fetch.Stderr = &errs
	dir, err := fetch.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	if _, err := os.Stat(strings.TrimSpace(string(dir)) + "/include/linux/sched.h"); err != nil || errs.Len() > 0 {
		t.Errorf("%q: %v; %s", dir, err, errs.String())
	}
	printsUntil(t, "cppload", "run", "-t", target, "--", "opensnoop-bpfcc", "-n", "cppload")

	btf := t.TempDir() + "/btf"
	if err := os.WriteFile(btf, []byte(remote(t, target, "cat", "/sys/kernel/btf/vmlinux")), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Run(t.Context(), "mkdir /empty && mount --bind /empty /sys/kernel/btf"); err != nil || r.Status != 0 {
		t.Fatalf("%v: %v", err, r)
	}
	printsUntil(t, "PCOMM", "run", "-t", target, "--btf", btf, "--", "exitsnoop")
}

// cacheWith is a cache of its own, but for the kernels and the packages.
func cacheWith(t *testing.T) string {
	t.Helper()
	kept, err := vm.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(kept, dir+"/bpfd-vm"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// printsUntil runs bpfctl until it prints what is wanted, and interrupts it.
func printsUntil(t *testing.T, want string, args ...string) {
	t.Helper()
	var errs strings.Builder
	cmd := exec.Command(bpfctl, args...)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer timer.Stop()
	var said strings.Builder
	b := make([]byte, 4096)
	for !strings.Contains(said.String(), want) {
		n, err := out.Read(b)
		said.Write(b[:n])
		if err != nil {
			break
		}
	}
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if !strings.Contains(said.String(), want) {
		t.Errorf("%v does not print %q: %s%s", args, want, said.String(), errs.String())
	}
}
