package remotefs

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUprobes(t *testing.T) {
	f := &FS{opts: Options{Probed: func(path string) syscall.Errno {
		if path == "/bin/other" {
			return unix.ENOEXEC
		}
		return 0
	}}}
	for _, c := range []struct {
		lines, want string
		errno       syscall.Errno
	}{
		{"p:g/e /bin/bash:0x10 %ip\n", "p:g/e /bin/bash:0x10 %ip\n", 0},
		{"r /proc/.target/bin/bash:0x10\n-:g/e\n", "r /bin/bash:0x10\n-:g/e\n", 0},
		{"p:g/e /bin/other:0x10", "", unix.ENOEXEC},
		{"p:g/e vfs_read", "p:g/e vfs_read", 0},
		{"-:g/e\n", "-:g/e\n", 0},
		{"\n", "\n", 0},
		{"", "", 0},
	} {
		got, e := f.uprobes([]byte(c.lines))
		if string(got) != c.want || e != c.errno {
			t.Errorf("%q became %q, %v", c.lines, got, e)
		}
	}
}
