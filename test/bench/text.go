package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// textClient speaks the text protocol with the bpfd beside bpfctl.
type textClient struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	file *os.File // of out
}

func (b *bench) text() *textClient {
	c := &textClient{cmd: exec.Command(filepath.Join(filepath.Dir(b.bpfctl), "bpfd"))}
	c.in, c.file = piped(c.cmd)
	// As bpfctl reads: what comes soon is awaited awake.
	c.out = bufio.NewReaderSize(sys.NewReader(int(c.file.Fd())), 1<<20)
	c.line() // the banner
	return c
}

func (c *textClient) line() string {
	line, err := c.out.ReadSlice('\n')
	if err != nil {
		fail("bpfd: %v", err)
	}
	return string(line)
}

// do sends a command and returns how many lines its reply has, and the first.
func (c *textClient) do(format string, args ...any) (n int, first string) {
	fmt.Fprintf(c.in, format+"\n", args...)
	return c.reply()
}

func (c *textClient) reply() (n int, first string) {
	c.line()
	for {
		line, err := c.out.ReadSlice('\n')
		if err != nil {
			fail("bpfd: %v", err)
		}
		if string(line) == "END_BPFD_OUTPUT\n" {
			return n, first
		}
		if n == 0 {
			first = string(line)
		}
		n++
	}
}

// want ends the program if a command does not return ret.
func (c *textClient) want(ret int, format string, args ...any) {
	if _, first := c.do(format, args...); !strings.HasSuffix(first, fmt.Sprintf("ret=%d\n", ret)) {
		fail("bpfd answers %.60s by %s", fmt.Sprintf(format, args...), first)
	}
}

func (c *textClient) close() {
	c.in.Close()
	c.cmd.Wait()
}

func b64(vs ...uint32) string {
	var b []byte
	for _, v := range vs {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// textLookup compares a lookup over pipes with the goal.
func (b *bench) textLookup() (figure, figure) {
	c := b.text()
	defer c.close()
	c.want(3, "BPF_CREATE_MAP 1 8 8 1000 0")
	c.want(0, "BPF_UPDATE_ELEM 3 %s 8 %s 8 0", b64(1, 2), b64(3, 4))
	line := []byte("BPF_LOOKUP_ELEM 3 " + b64(1, 2) + " 8 8\n")
	var list []float64
	for range 20000 {
		start := time.Now()
		c.in.Write(line)
		c.reply()
		list = append(list, float64(time.Since(start).Nanoseconds()))
	}
	return micros(10_000), micros(median(list))
}

// textDump compares all of a map with all of one that has half the entries. A
// dump takes so little that others on the machine decide about a single one.
func (b *bench) textDump() (figure, figure) {
	half, whole := b.textMap(50_000), b.textMap(100_000)
	defer half.close()
	defer whole.close()
	dump := func(c *textClient, entries int) float64 {
		start := time.Now()
		if n, _ := c.do("BPF_GET_FIRST_KEY 3 4 8 1"); n != 2*entries+1 {
			fail("a dump of %d entries has %d lines", entries, n)
		}
		return time.Since(start).Seconds()
	}
	var halves, wholes []float64
	for range 5 * rounds {
		halves = append(halves, dump(half, 50_000))
		wholes = append(wholes, dump(whole, 100_000))
	}
	return seconds(median(halves)), seconds(median(wholes))
}

// textMap returns a session with a full map.
func (b *bench) textMap(entries int) *textClient {
	c := b.text()
	c.want(3, "BPF_CREATE_MAP 1 4 8 %d 0", entries)
	go func() {
		w := bufio.NewWriterSize(c.in, 1<<16)
		for i := range uint32(entries) {
			fmt.Fprintf(w, "BPF_UPDATE_ELEM 3 %s 4 %s 8 0\n", b64(i), b64(i, i))
		}
		w.Flush()
	}()
	for range entries {
		c.reply()
	}
	return c
}

// textPoll compares the rate at which full rings are drained with the goal.
func (b *bench) textPoll() (figure, figure) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, set unix.CPUSet
	unix.SchedGetaffinity(0, &old)
	set.Set(0)
	unix.SchedSetaffinity(0, &set)
	defer unix.SchedSetaffinity(0, &old)
	c := b.text()
	defer c.close()
	c.want(3, "BPF_CREATE_MAP 4 4 4 %d 0", runtime.NumCPU())
	c.want(4, "BPF_OPEN_PERF_BUFFER -1 0 1024")
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 4 0", b64(0), b64(4))
	p := sender(3)
	c.want(5, "BPF_PROG_LOAD 5 sender %d GPL 0 %s", len(p), base64.StdEncoding.EncodeToString(p))
	c.want(6, "BPF_ATTACH_TRACEPOINT 5 syscalls sys_enter_getpriority")
	var list []float64
	for range rounds {
		for range 1024 * os.Getpagesize() / 80 {
			unix.Getpriority(unix.PRIO_PROCESS, 0)
		}
		unix.SchedSetaffinity(0, &old) // to read where bpfd does not write
		start := time.Now()
		n, _ := c.do("PERF_READER_POLL 0 1 4")
		list = append(list, float64(n)/time.Since(start).Seconds())
		unix.SchedSetaffinity(0, &set)
	}
	return perSecond(1_000_000), perSecond(median(list))
}

// sender is a program that writes 64 bytes into a perf event array.
func sender(fd int32) []byte {
	var b []byte
	add := func(code, dst, src byte, off int16, imm int32) {
		b = append(b, code, dst|src<<4)
		b = binary.NativeEndian.AppendUint16(b, uint16(off))
		b = binary.NativeEndian.AppendUint32(b, uint32(imm))
	}
	for off := int16(-64); off < 0; off += 8 {
		add(0x7a, 10, 0, off, 1) // *(u64 *)(r10 + off) = 1
	}
	add(0x18, 2, 1, 0, fd) // r2 = map
	add(0, 0, 0, 0, 0)
	add(0x18, 3, 0, 0, -1) // r3 = BPF_F_CURRENT_CPU
	add(0, 0, 0, 0, 0)
	add(0xbf, 4, 10, 0, 0)
	add(0x07, 4, 0, 0, -64) // r4 = r10 - 64
	add(0xb7, 5, 0, 0, 64)
	add(0x85, 0, 0, 0, 25) // bpf_perf_event_output
	add(0xb7, 0, 0, 0, 0)
	add(0x95, 0, 0, 0, 0)
	return b
}

// textLine compares the memory that a long line takes with its length.
func (b *bench) textLine() (figure, figure) {
	const size = 60 << 20
	c := b.text()
	defer c.close()
	c.want(3, "BPF_CREATE_MAP 1 4 4 10 0")
	c.want(-1, "BPF_UPDATE_ELEM 3 %s 4 %s 4 0", b64(1), bytes.Repeat([]byte("A"), size-100))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		fail("%v", err)
	}
	var peak float64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Sscan(rest, &peak)
	megabytes := func(v float64) figure { return figure{v, fmt.Sprintf("%.0f MiB", v/(1<<20))} }
	return megabytes(size), megabytes(peak * 1024)
}
