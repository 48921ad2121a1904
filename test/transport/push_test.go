package transport

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/internal/transport"
	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

// local has the ssh transport run its command line by a shell of this machine.
func local(t *testing.T, shell string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "ssh")
	write(t, script, "#!/bin/bash\nexec "+shell+" -c \"${@: -1}\"\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BPFD_SSH", script)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("BPFD_AGENT", peer)
}

// push pushes to ssh://host?path=DIR.
func push(t *testing.T, dir string) (string, error) {
	t.Helper()
	return transport.Push(parse(t, "ssh://host?path="+dir), transport.Options{})
}

func TestPushShells(t *testing.T) {
	for _, shell := range []string{"dash", "bash", "busybox sh", "mksh", "zsh", "fish", "tcsh"} {
		t.Run(shell, func(t *testing.T) {
			testenv.Need(t, strings.Fields(shell)[0])
			local(t, shell)
			dir := t.TempDir()
			target := parse(t, "ssh://host?path="+dir)
			echo(t, target.URL, 1000) // pushes
			echo(t, target.URL, 1000) // finds
			files, err := transport.Pushed(target)
			if err != nil || len(files) != 1 || !strings.HasPrefix(files[0], dir+"/bpfd-0/bpfd-") {
				t.Errorf("pushed %q, %v", files, err)
			}
			if files, err := transport.Remove(target); err != nil || len(files) != 1 {
				t.Errorf("removed %q, %v", files, err)
			}
			left(t, dir)
		})
	}
}

// left fails if anything is in a directory.
func left(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v, %v in %s", entries, err, dir)
	}
}

// A place that somebody else prepared, or that is no good, is passed over.
func TestPushPlaces(t *testing.T) {
	local(t, "dash")
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	mount := func(options string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, options); err != nil {
				t.Skipf("cannot mount here: %v", err)
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			if strings.Contains(options, "mode=0755") {
				unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_NOEXEC, "")
			}
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
	}{
		{"symbolic link", func(t *testing.T, dir string) { os.Symlink(t.TempDir(), dir+"/bpfd-0") }},
		{"others may write", func(t *testing.T, dir string) {
			os.Mkdir(dir+"/bpfd-0", 0o700)
			os.Chmod(dir+"/bpfd-0", 0o777)
		}},
		{"another owner", func(t *testing.T, dir string) {
			os.Mkdir(dir+"/bpfd-0", 0o700)
			os.Chown(dir+"/bpfd-0", 65534, 65534)
		}},
		{"not executable", mount("mode=0755")},
		{"full", mount("size=64k")},
		{"missing", func(t *testing.T, dir string) { os.Remove(dir) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.prepare(t, dir)
			got, err := push(t, dir)
			if err != nil || !strings.HasPrefix(got, cache+"/bpfd-0/") {
				t.Errorf("pushed to %q, %v; want a path in %s", got, err, cache)
			}
			found, _ := filepath.Glob(dir + "/bpfd-0/*")
			hidden, _ := filepath.Glob(dir + "/bpfd-0/.bpfd*")
			if len(found)+len(hidden) > 0 {
				t.Errorf("left behind: %v %v", found, hidden)
			}
			os.RemoveAll(filepath.Join(cache, "bpfd-0"))
		})
	}
}

// Where every place is full, each is named, and nothing is left in any.
func TestPushFull(t *testing.T) {
	testenv.Need(t, "dash", "unshare")
	listing, script := filepath.Join(t.TempDir(), "left"), filepath.Join(t.TempDir(), "shell")
	write(t, script, `#!/bin/sh
exec 9>`+listing+`
set -e
for d in /data/local/tmp /tmp /var/tmp /dev/shm; do [ ! -d $d ] || mount -t tmpfs -o size=64k none $d; done
set +e
dash "$@"
status=$?
find /data/local/tmp /tmp /var/tmp /dev/shm -mindepth 1 >&9 2>/dev/null
exit $status
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	local(t, "unshare --mount "+script)
	_, err := push(t, "/var/tmp")
	if err == nil {
		t.Fatal("pushed although there is no room")
	}
	for _, dir := range []string{"/var/tmp", "/tmp", "/dev/shm"} {
		if !strings.Contains(err.Error(), dir+"/bpfd-0 has 65536 bytes of ") {
			t.Errorf("nothing of %s: %v", dir, err)
		}
	}
	if strings.Count(err.Error(), "it is full") < 3 || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadFile(listing); err != nil || len(left) > 0 {
		t.Errorf("left behind: %s, %v", left, err)
	}
}

// Who is not root and cannot become it is told so.
func TestPushUser(t *testing.T) {
	path, err := exec.LookPath("setpriv")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs setpriv and root")
	}
	local(t, fmt.Sprintf("%s --reuid 65534 --clear-groups env PATH=/nonexistent:/usr/bin sh", path))
	_, err = push(t, "/tmp")
	if err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("pushed as nobody: %v", err)
	}
}
