package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"bpfd/internal/syscalls"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// privileged says whether the mounts and namespaces of a tool can be made
// without a user namespace.
func privileged() bool {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return err == nil && caps&(1<<unix.CAP_SYS_ADMIN) != 0
		}
	}
	return false
}

// bccArch are the names that bcc's ARCH wants.
var bccArch = map[string]string{"amd64": "x86", "arm64": "arm64", "arm": "arm", "riscv64": "riscv64"}

// toolEnv adds what tools need to know of the target, unless the user has set it.
func toolEnv(env []string, i *wire.Info) []string {
	for _, kv := range [][2]string{
		{"ARCH", bccArch[i.Arch]},
		// Without it bpftrace reads a process's files anew for each symbol.
		{"BPFTRACE_CACHE_USER_SYMBOLS", "1"},
	} {
		if !isSet(env, kv[0]) {
			env = append(env, kv[0]+"="+kv[1])
		}
	}
	if i.Arch != runtime.GOARCH {
		env = withSyscalls(env, i.Arch)
	}
	return env
}

// withSyscalls puts an ausyscall which knows the system calls of the target's
// architecture at the end of the search path.
func withSyscalls(env []string, arch string) []string {
	dir, err := syscalls.Install(arch)
	if err != nil {
		warn(warnSyscalls(err))
		return env
	}
	for i, e := range env {
		if strings.HasPrefix(e, "PATH=") {
			env[i] = e + ":" + dir
			return env
		}
	}
	return append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"+dir)
}

func isSet(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}
