package supervisor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A target's list of processors may be anything.
func TestCPUs(t *testing.T) {
	for list, want := range map[string]uint32{
		"0": 1, "0-3": 4, "0-3,8": 9, "0,2-5": 6, "": 1, "nonsense": 1, "0-": 1, "0-x": 1, "0-4294967296": 1,
	} {
		if got := cpus(list); got != want {
			t.Errorf("%q: %d, want %d", list, got, want)
		}
	}
}

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string]uint32{
		"6.1.0-56-amd64": 6<<16 | 1<<8, "4.9.337-perf": 4<<16 | 9<<8 | 255, "5.10.110": 5<<16 | 10<<8 | 110, "": 0, "x": 0,
	} {
		if got := kernelVersion(release); got != want {
			t.Errorf("%q: %#x, want %#x", release, got, want)
		}
	}
}

func TestTargetPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/proc": true, "/proc/1/maps": true, "/sys": true, "/sys/fs/bpf/x": true,
		"/": false, "/procfs": false, "/system": false, "/home/proc": false, "": false, "proc": false,
	} {
		if got := targetPath(path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

// Clocks are shifted only where they are not the same clock.
func TestShift(t *testing.T) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{0, time.Second, -time.Second} {
		if got := shift(now.Nano()+int64(d), unix.CLOCK_MONOTONIC); got != 0 {
			t.Errorf("%v: shifted by %v", d, time.Duration(got))
		}
	}
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		got := time.Duration(shift(now.Nano()+int64(d), unix.CLOCK_MONOTONIC))
		if got > d || got < d-time.Minute {
			t.Errorf("%v: shifted by %v", d, got)
		}
	}
}

// Each function of the tool gets a stand-in of its own, as long as there are any.
func TestTriggers(t *testing.T) {
	var all triggers
	for _, c := range []struct {
		off  uint64
		want uint32
		ok   bool
	}{{0x1000, 0, true}, {0x2000, 1, true}, {0x1000, 0, true}, {0x3000, 0, false}, {0x2000, 1, true}} {
		if i, ok := all.take(c.off, 2); i != c.want || ok != c.ok {
			t.Errorf("%#x: %d, %v", c.off, i, ok)
		}
	}
	for cmd, want := range map[uint32]bool{triggerCommand: true, triggerCommand | 3: true, 5: false, triggerCommand + 0x100: false, 1<<32 - 1: false} {
		if i, ok := triggerIndex(cmd); ok != want || ok && i != cmd&0xff {
			t.Errorf("command %#x: %d, %v", cmd, i, ok)
		}
	}
}

// Each call has one row: of two, the filter would report by the first and the
// table answer by the second.
func TestTraps(t *testing.T) {
	seen := make(map[int]bool)
	for _, row := range trapRows {
		if seen[row.Nr] {
			t.Errorf("call %d has two rows", row.Nr)
		}
		seen[row.Nr] = true
		if row.handle == nil {
			t.Errorf("nobody answers call %d", row.Nr)
		}
	}
}
