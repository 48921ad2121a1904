package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"bpfd/internal/cache"
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
		{"TMPDIR", kernelTemp(i)},
		// Without it bpftrace reads a process's files anew for each symbol.
		{"BPFTRACE_CACHE_USER_SYMBOLS", "1"},
	} {
		if kv[1] != "" && !isSet(env, kv[0]) {
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

// kernelTemp is a directory for temporary files of tools, one for each kernel:
// bcc unpacks kernel headers there under a name that has the release only,
// which kernels of two builds, or of two machines, may share.
func kernelTemp(i *wire.Info) string {
	sum := sha256.Sum256([]byte(i.Machine + "\n" + i.Release + "\n" + i.Version))
	dir := cache.Path("tmp", fmt.Sprintf("%s-%x", i.Release, sum[:4]))
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// hereFlags are options of tools by which they start a program. That runs here,
// where its BPF programs do not see it.
var hereFlags = map[string][]string{
	"bpftrace": {"-c", "--cmd"},
}

// startsHere says which of its arguments makes a tool start a program, "" if
// none does.
func startsHere(args []string) string {
	for _, arg := range args[1:] {
		for _, flag := range hereFlags[filepath.Base(args[0])] {
			if name, _, _ := strings.Cut(arg, "="); name == flag {
				return flag
			}
		}
	}
	return ""
}

func isSet(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}
