package agent

import (
	"runtime"
	"strconv"
	"strings"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// info describes the target.
func info() wire.Info {
	var u unix.Utsname
	unix.Uname(&u)
	i := wire.Info{
		Arch:       runtime.GOARCH,
		Sysname:    unix.ByteSliceToString(u.Sysname[:]),
		Nodename:   unix.ByteSliceToString(u.Nodename[:]),
		Release:    unix.ByteSliceToString(u.Release[:]),
		Version:    unix.ByteSliceToString(u.Version[:]),
		Machine:    unix.ByteSliceToString(u.Machine[:]),
		Domain:     unix.ByteSliceToString(u.Domainname[:]),
		WordSize:   strconv.IntSize / 8,
		PageSize:   uint32(sys.PageSize),
		Possible:   readLine("/sys/devices/system/cpu/possible"),
		Online:     readLine("/sys/devices/system/cpu/online"),
		BootID:     readLine("/proc/sys/kernel/random/boot_id"),
		Pid:        uint32(unix.Getpid()),
		UID:        uint32(unix.Geteuid()),
		Caps:       capabilities(),
		Executable: executable(),
		Triggers:   triggerOffsets(),
	}
	i.Realtime = now(unix.CLOCK_REALTIME)
	i.Monotonic = now(unix.CLOCK_MONOTONIC)
	i.Boottime = now(unix.CLOCK_BOOTTIME)
	return i
}

func now(clock int32) int64 {
	var t unix.Timespec
	unix.ClockGettime(clock, &t)
	return t.Nano()
}

func executable() string {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/exe", b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// capabilities returns the effective capabilities, as in proc(5).
func capabilities() uint64 {
	for line := range strings.Lines(readFile("/proc/self/status")) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, _ := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return caps
		}
	}
	return 0
}

func readLine(path string) string { return strings.TrimSpace(readFile(path)) }

// readFile returns what a file of /proc or /sys holds, "" if it cannot be read.
func readFile(path string) string {
	b, _ := sys.ReadFile(path)
	return string(b)
}
