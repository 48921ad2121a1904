package vm_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// A tool of bcc's runs against Debian's kernel with the headers that bpfctl
// fetches, and nothing that names them. The guest shows no BTF but what --btf
// brings.
func TestHeaders(t *testing.T) {
	testenv.Need(t, "opensnoop-bpfcc", "exitsnoop", "apt-get", "dpkg-deb")
	t.Setenv("XDG_CACHE_HOME", cacheWith(t))
	t.Setenv("BCC_KERNEL_SOURCE", "")
	v := vm.Start(t, "6.1-amd64", vm.WithLoad())
	target := v.TargetTCP()
	o := testenv.Must(t, testenv.Run(t, bpfctl, "headers", "-t", target))
	if want := "linux-headers-" + v.Release + " of Debian bookworm"; !strings.Contains(o.Stdout+o.Stderr, want) {
		t.Fatal(o)
	}
	fetched := testenv.Must(t, testenv.Run(t, bpfctl, "headers", "-t", target, "--fetch"))
	if _, err := os.Stat(strings.TrimSpace(fetched.Stdout) + "/include/linux/sched.h"); err != nil || fetched.Stderr != "" {
		t.Errorf("%v: %v", err, fetched)
	}
	printsUntil(t, "cppload", "run", "-t", target, "--", "opensnoop-bpfcc", "-n", "cppload")

	btf := t.TempDir() + "/btf"
	if err := os.WriteFile(btf, []byte(remote(t, target, "cat", "/sys/kernel/btf/vmlinux")), 0o600); err != nil {
		t.Fatal(err)
	}
	v.Sh(t, "mkdir /empty && mount --bind /empty /sys/kernel/btf")
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
	out := testenv.Output(t, cmd)
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
