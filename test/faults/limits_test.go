package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

// copied returns a directory that anybody may write to, with a bpfctl that
// anybody may execute.
func copied(t *testing.T) (dir, program string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bpfd-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o777)
	b, err := os.ReadFile(bpfctl)
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "bpfctl")
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, program
}

// refused fails unless bpfctl says why in one line, with its own status.
func refused(t *testing.T, o testenv.Outcome, words ...string) {
	t.Helper()
	if o.Status != 125 || o.Stdout != "" || strings.Count(o.Stderr, "\n") != 1 {
		t.Error(o)
	}
	for _, w := range words {
		if !strings.Contains(o.Stderr, w) {
			t.Errorf("nothing of %q: %v", w, o)
		}
	}
}

// Limits of namespaces are those of a user namespace of the test's own: the
// machine's are left as they are.
func TestNoNamespaces(t *testing.T) {
	testenv.Need(t, "setpriv", "unshare")
	dir, program := copied(t)
	if o := testenv.Run(t, "setpriv", "--reuid=65534", "--clear-groups", "unshare", "--user", "true"); o.Status != 0 {
		testenv.Missing(t, "user namespaces for ordinary users: "+o.Stderr)
	}
	for _, c := range []struct {
		name, limit, value string
		words              []string
	}{
		{"no user namespaces", "max_user_namespaces", "0", []string{
			"does not allow user namespaces", "/proc/sys/user/max_user_namespaces is 0", "as root with: sysctl user.max_user_namespaces="}},
		{"no mount namespaces", "max_mnt_namespaces", "0", []string{
			"does not allow mount namespaces", "as root with: sysctl user.max_mnt_namespaces="}},
		{"no pid namespaces", "max_pid_namespaces", "0", []string{"does not allow pid namespaces"}},
		{"too many", "max_user_namespaces", "1", []string{
			"no more namespaces", "user.max_user_namespaces=1", "as root with sysctl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := "echo " + c.value + " >/proc/sys/user/" + c.limit + " || exit 99\n"
			if c.value != "0" { // one is in use already
				script += "unshare --user sleep 60 & sleep 0.2; trap \"kill $!\" EXIT\n"
			}
			refused(t, testenv.RunEnv(t, []string{"HOME=" + dir, "XDG_CACHE_HOME="},
				"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-current-user", "--keep-caps",
				"sh", "-c", script+program+" run -t shell: -- true"), c.words...)
		})
	}
}

// device is a script that leaves nothing in /dev but what makes it.
func device(script string) string {
	return "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && " + script + " exec " + bpfctl + " run -t shell: -- true"
}

func TestNoFuse(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"no device", ""},
		{"nothing behind the device", "mknod /dev/fuse c 10 250 &&"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, testenv.Run(t, "unshare", "--mount", "sh", "-c", device(c.script)), "this host has no /dev/fuse", "as root: modprobe fuse")
		})
	}
}

// On a disk that is full nothing is kept in halves: what cannot be done without
// is refused, and the rest goes on.
func TestFullCache(t *testing.T) {
	cache := t.TempDir()
	if err := unix.Mount("tmpfs", cache, "tmpfs", unix.MS_NOSUID, "size=16m"); err != nil {
		testenv.Missing(t, "mounting: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(cache, unix.MNT_DETACH) })
	types, err := os.Stat("/sys/kernel/btf/vmlinux")
	if err != nil {
		testenv.Missing(t, "BTF: "+err.Error())
	}
	for _, c := range []struct {
		name string
		used int // bytes of the disk by others
		kept []string
	}{
		{"full", 16 << 20, nil},
		{"room for bpfd", 12 << 20, []string{"agent"}},
		{"room for all", 0, []string{"agent", "btf"}},
	} {
		os.WriteFile(cache+"/others", make([]byte, c.used), 0o600)
		o := testenv.RunEnv(t, []string{"XDG_CACHE_HOME=" + cache}, testenv.Remote("shell:", "wc", "-c", "/sys/kernel/btf/vmlinux")...)
		if c.kept == nil {
			refused(t, o, cache+"/bpfd/agent", "no space left", "XDG_CACHE_HOME")
		} else if want := fmt.Sprintln(types.Size(), "/sys/kernel/btf/vmlinux"); o != (testenv.Outcome{Stdout: want}) {
			t.Errorf("%s: %v", c.name, o)
		}
		var kept []string
		filepath.WalkDir(cache+"/bpfd", func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			kind := filepath.Base(filepath.Dir(path))
			if st, err := d.Info(); err != nil || kind == "btf" && st.Size() != types.Size() {
				t.Errorf("%s: %s: %v, %v", c.name, path, st, err)
			}
			kept = append(kept, kind)
			return nil
		})
		if !slices.Equal(kept, c.kept) {
			t.Errorf("%s: %q are in the cache, not %q", c.name, kept, c.kept)
		}
	}
}
