package faults

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bpfd/internal/text"
	"bpfd/internal/wire"
	"bpfd/test/testenv"

	"golang.org/x/sys/unix"
)

const uprobeEvents = "/sys/kernel/tracing/uprobe_events"

// frames is what a host sends: the requests have the ids 1, 2 and so on.
func frames(requests ...request) (b []byte) {
	for i, r := range requests {
		b = wire.AppendFrame(b, r.t, uint32(i+1), r.m)
	}
	return b
}

type request struct {
	t wire.Type
	m wire.Message
}

// clock is a perf event which fills its ring without an end.
func clock() []request {
	attr := make([]byte, 64) // PERF_ATTR_SIZE_VER0
	binary.NativeEndian.PutUint32(attr, unix.PERF_TYPE_SOFTWARE)
	binary.NativeEndian.PutUint32(attr[4:], uint32(len(attr)))
	binary.NativeEndian.PutUint64(attr[8:], unix.PERF_COUNT_SW_CPU_CLOCK)
	binary.NativeEndian.PutUint64(attr[16:], 100_000) // ns
	binary.NativeEndian.PutUint64(attr[24:], unix.PERF_SAMPLE_IP|unix.PERF_SAMPLE_TID|unix.PERF_SAMPLE_TIME)
	none := ^uint64(0)
	return []request{
		{wire.TypeCall, &wire.Call{Sys: wire.SysPerfEventOpen, Result: 2, Args: []uint64{0, none, 0, none, 0},
			Bufs: []wire.Buf{{Flags: wire.BufIn, Len: 64, In: attr}}, Patches: []wire.Patch{{Kind: wire.PatchPtr, Buf: wire.PatchArg}}}},
		{wire.TypeStream, &wire.Stream{ID: 1, Kind: wire.StreamPerf, Handle: 2, Size: 1 << 18, Credit: 1 << 40}},
	}
}

func repeat(n int, list ...request) (all []request) {
	for range n {
		all = append(all, list...)
	}
	return all
}

// A signal ends a bpfd whose host takes nothing any more, and what it has
// defined in tracefs is gone then, whoever of it waits for the host.
func TestUnread(t *testing.T) {
	if _, err := os.Stat(uprobeEvents); err != nil {
		testenv.Missing(t, uprobeEvents)
	}
	open := func(h wire.Handle) request {
		return request{wire.TypeOpen, &wire.Open{Result: h, Flags: wire.OpenRead, Snapshot: 128 << 10, Path: "/proc/kallsyms"}}
	}
	info, closed := request{wire.TypeInfo, wire.Empty{}}, request{wire.TypeClose, &wire.Close{Handles: []wire.Handle{2}}}
	for _, c := range []struct {
		name        string
		flood, then []request
	}{
		{"main thread", repeat(3000, info), nil},
		{"beside it", []request{open(3)}, nil},
		{"more than may run", repeat(300, open(0)), nil},
		{"ring", clock(), nil},
		{"ring that is closed", clock(), []request{closed, info}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(bpfd)
			cmd.Stderr = os.Stderr
			in, out := testenv.Piped(t, cmd)
			define(t, in, out)
			send := func(list []request) {
				go in.Write(frames(list...)) // bpfd need not read all of it
			}
			send(c.flood)
			last, same := 0, 0
			testenv.Eventually(t, "the pipe is not full", func() bool {
				n, err := unix.IoctlGetInt(int(out.Fd()), unix.TIOCINQ)
				if err != nil {
					t.Fatal(err)
				}
				if same++; n != last || n < 1<<15 { // small frames leave pages half empty
					last, same = n, 0
				}
				return same > 5
			})
			send(c.then)
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			cmd.Process.Signal(unix.SIGTERM)
			testenv.Eventually(t, "bpfd still runs", func() bool {
				select {
				case <-ended:
					return true
				default:
					return false
				}
			})
			if defined(t) {
				t.Error("what it has defined is still there")
			}
		})
	}
}

// event is what a bpfd defines.
var event = fmt.Sprintf("unread%d/e", os.Getpid())

func defined(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile(uprobeEvents)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), event)
}

// define greets a bpfd and has it define the event.
func define(t *testing.T, in io.Writer, out io.Reader) {
	t.Helper()
	hello := wire.Hello{Version: wire.Version, Software: "test"}
	b := wire.AppendFrame([]byte(wire.Magic), wire.TypeHello, 0, &hello)
	b = append(b, frames(
		request{wire.TypeOpen, &wire.Open{Result: 1, Flags: wire.OpenWrite | wire.OpenAppend, Path: uprobeEvents}})...)
	if _, err := in.Write(b); err != nil {
		t.Fatal(err)
	}
	skip := make([]byte, len(text.Banner)+len(wire.Magic))
	if _, err := io.ReadFull(out, skip); err != nil {
		t.Fatal(err)
	}
	receive(t, out) // the welcome
	receive(t, out) // the file is open
	if _, err := in.Write(frames(
		request{wire.TypeWrite, &wire.Write{Handle: 1, Off: wire.NoOffset, Bytes: []byte("p:" + event + " /bin/sh:0x1000\n")}})); err != nil {
		t.Fatal(err)
	}
	receive(t, out)
	if !defined(t) {
		t.Fatal("no event was defined")
	}
}

// receive reads a frame.
func receive(t *testing.T, out io.Reader) {
	t.Helper()
	head := make([]byte, wire.HeaderSize)
	_, err := io.ReadFull(out, head)
	h, e := wire.ParseHeader(head)
	if err == nil {
		err = e
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, out, int64(h.Len))
	}
	if err != nil {
		t.Fatal(err)
	}
}
