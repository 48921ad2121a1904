package supervisor

import (
	"fmt"
	"runtime"
	"sync"

	"bpfd/internal/marshal"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// A uprobe on a function of the tool itself, as bpftrace has one on
// BEGIN_trigger, goes to a function of the daemon that stands in for it. The
// tool's function is overwritten with a bpf(2) call that no kernel knows; when
// it traps, the daemon calls the stand-in.

// triggerCommand is the bpf command that the overwritten functions use.
const triggerCommand = 0x62706600

// triggers are the stand-ins that are taken.
type triggers struct {
	mu    sync.Mutex // protects following
	taken map[uint64]uint32
}

func triggerIndex(cmd uint32) (uint32, bool) {
	return cmd & 0xff, cmd&^0xff == triggerCommand
}

// trigger has the daemon call a stand-in.
func (s *Supervisor) trigger(i uint32) answer {
	var reply wire.Status
	if s.target.Do(wire.TypeTrigger, &wire.Trigger{Index: i}, &reply) != nil {
		return linkLost()
	}
	return fromErrno(reply.Errno)
}

// ownProgram says whether path is the program of the calling process.
func (s *Supervisor) ownProgram(r *request, path string) bool {
	_, inner, _, err := r.thread.Process()
	if err != nil {
		return false
	}
	if path == "/proc/self/exe" || path == fmt.Sprintf("/proc/%d/exe", inner) {
		return true
	}
	exe, err := r.thread.Link("exe")
	return err == nil && exe == path
}

// Offset of config2, the offset in the file, in struct perf_event_attr.
const perfConfig2 = 64

// redirect puts the probe on a stand-in, and the call to it into the tool.
func (t *triggers) redirect(s *Supervisor, r *request, ev *marshal.PerfEvent) {
	info := &s.target.Welcome.Info
	if len(ev.Attr) < perfConfig2+8 {
		return
	}
	off := le.Uint64(ev.Attr[perfConfig2:])
	i, ok := t.take(off, len(info.Triggers))
	if !ok {
		s.warnOnce("the tool probes too many functions of its own")
		return
	}
	addr, err := r.thread.Address(off)
	if err == nil {
		err = r.thread.Poke(addr, triggerCode(triggerCommand|i))
	}
	if err != nil {
		s.warnOnce(fmt.Sprintf("the tool's own function cannot be redirected to the target: %v", err))
		return
	}
	ev.Path, ev.PID = info.Executable, int32(info.Pid)
	le.PutUint64(ev.Attr[perfConfig2:], info.Triggers[i])
}

func (t *triggers) take(off uint64, n int) (uint32, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.taken[off]; ok {
		return i, true
	}
	if len(t.taken) >= n {
		return 0, false
	}
	if t.taken == nil {
		t.taken = make(map[uint64]uint32)
	}
	i := uint32(len(t.taken))
	t.taken[off] = i
	return i, true
}

// triggerCode is a function that makes the call bpf(cmd).
func triggerCode(cmd uint32) []byte {
	if runtime.GOARCH == "arm64" {
		var b []byte
		for _, insn := range []uint32{
			0x52800008 | unix.SYS_BPF<<5, // mov w8, #SYS_bpf
			0x52800000 | cmd&0xffff<<5,   // mov w0, #low half
			0x72a00000 | cmd>>16<<5,      // movk w0, #high half, lsl #16
			0xd4000001,                   // svc #0
			0xd65f03c0,                   // ret
		} {
			b = le.AppendUint32(b, insn)
		}
		return b
	}
	b := le.AppendUint32([]byte{0xb8}, unix.SYS_BPF) // mov $SYS_bpf, %eax
	b = le.AppendUint32(append(b, 0xbf), cmd)        // mov $cmd, %edi
	return append(b, 0x0f, 0x05, 0xc3)               // syscall; ret
}
