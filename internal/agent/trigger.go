package agent

import (
	"strconv"
	"strings"
	"sync/atomic"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

const triggerCount = 4

// A tool that puts a uprobe on a function of its own (bpftrace's
// BEGIN_trigger) gets one on a function of the daemon instead, which the host
// has called when the tool calls its own. Each of them is distinct code, so
// that each can carry a probe of its own.
var triggers = [triggerCount]func(){trigger0, trigger1, trigger2, trigger3}

// triggered keeps the bodies from being empty, and so from being left out.
var triggered [triggerCount]atomic.Uint32

//go:noinline
func trigger0() { triggered[0].Add(1) }

//go:noinline
func trigger1() { triggered[1].Add(1) }

//go:noinline
func trigger2() { triggered[2].Add(1) }

//go:noinline
func trigger3() { triggered[3].Add(1) }

// trigger calls one of the functions. The caller runs on the main thread.
func trigger(req *wire.Trigger) *wire.Status {
	if uint64(req.Index) >= uint64(len(triggers)) {
		return status(unix.EINVAL)
	}
	triggers[req.Index]()
	return status(nil)
}

// triggerOffsets returns where the functions are in the daemon's file.
func triggerOffsets() []uint64 {
	maps := readFile("/proc/self/maps")
	var offs []uint64
	for _, f := range triggers {
		off, ok := fileOffset(maps, uint64(sys.FuncAddress(f)))
		if !ok {
			return nil
		}
		offs = append(offs, off)
	}
	return offs
}

// fileOffset finds an address in the text of proc(5)'s maps.
func fileOffset(maps string, addr uint64) (uint64, bool) {
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "r-xp" {
			continue
		}
		lo, hi, _ := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseUint(lo, 16, 64)
		end, err2 := strconv.ParseUint(hi, 16, 64)
		off, err3 := strconv.ParseUint(f[2], 16, 64)
		if err1 == nil && err2 == nil && err3 == nil && start <= addr && addr < end {
			return addr - start + off, true
		}
	}
	return 0, false
}
