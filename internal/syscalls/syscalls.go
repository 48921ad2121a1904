// Package syscalls gives tools the names of a target's system calls. Their
// numbers differ between architectures; bcc's tools have those of x86 built in,
// and for another machine they run `ausyscall --dump`, which is part of
// auditd, and which few hosts have.
package syscalls

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"bpfd/internal/cache"
)

//go:generate go run generate.go

//go:embed *.txt
var tables embed.FS

// program is what Install writes.
const program = `#!/bin/sh
# The system calls of %s, for a tool that bpfctl runs against such a machine.
[ "$*" = --dump ] || { echo "usage: ausyscall --dump" >&2; exit 1; }
cat <<'END'
Using %[1]s syscall table:
%sEND
`

// Install puts an ausyscall that knows the system calls of an architecture, as
// Go spells it, into the cache, and returns its directory.
func Install(arch string) (string, error) {
	table, err := tables.ReadFile(arch + ".txt")
	if err != nil {
		return "", fmt.Errorf("the system calls of %s are not known", arch)
	}
	text := fmt.Appendf(nil, program, arch, table)
	path := cache.Path("bin-"+arch, "ausyscall")
	if b, err := os.ReadFile(path); err == nil && bytes.Equal(b, text) {
		return filepath.Dir(path), nil
	}
	return filepath.Dir(path), cache.Put(path, text, 0o700)
}
