package text

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// client is a client of a session in this process.
type client struct {
	t   *testing.T
	in  *os.File
	out *bufio.Reader
	end chan error
}

// newClient starts a session over pipes, which ends with the test.
func newClient(t *testing.T) *client {
	t.Helper()
	r, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, in: in, out: bufio.NewReader(out), end: make(chan error, 1)}
	go func() {
		err := Serve(int(r.Fd()), int(w.Fd()), nil, Options{Software: "bpfd test"})
		r.Close()
		w.Close()
		c.end <- err
	}()
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	return c
}

// send writes lines as they are.
func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.in.WriteString(s); err != nil {
		c.t.Fatal(err)
	}
}

// reply returns the lines of the next frame.
func (c *client) reply() []string {
	c.t.Helper()
	if first := c.line(); first != strings.TrimSuffix(Start, "\n") {
		c.t.Fatalf("a frame begins with %q", first)
	}
	var lines []string
	for {
		line := c.line()
		if line == strings.TrimSuffix(End, "\n") {
			return lines
		}
		lines = append(lines, line)
	}
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// do sends a command and returns its reply.
func (c *client) do(format string, args ...any) []string {
	c.t.Helper()
	c.send(fmt.Sprintf(format, args...) + "\n")
	return c.reply()
}

var retPattern = regexp.MustCompile(`ret=(-?\d+)`)

// ret sends a command and returns what is behind ret= in the first line.
func (c *client) ret(format string, args ...any) int {
	c.t.Helper()
	lines := c.do(format, args...)
	if len(lines) == 0 {
		c.t.Fatalf("%s: an empty frame", fmt.Sprintf(format, args...))
	}
	m := retPattern.FindStringSubmatch(lines[0])
	if m == nil {
		c.t.Fatalf("%s: %q", fmt.Sprintf(format, args...), lines)
	}
	v, _ := strconv.Atoi(m[1])
	return v
}

// want sends a command that must return v.
func (c *client) want(v int, format string, args ...any) {
	c.t.Helper()
	if got := c.ret(format, args...); got != v {
		c.t.Fatalf("%s: ret=%d, want %d; %q", fmt.Sprintf(format, args...), got, v, c.do("LAST_ERROR"))
	}
}

// finish ends the input and waits for the session's end.
func (c *client) finish() {
	c.t.Helper()
	c.in.Close()
	if err := <-c.end; err != nil {
		c.t.Error(err)
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") || len(got) != len(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// b64 is the base64 of numbers of 32 bits.
func b64(vs ...uint32) string {
	var b []byte
	for _, v := range vs {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// needBPF skips a test where the kernel or the user may not use BPF.
func needBPF(t *testing.T) {
	t.Helper()
	fd, err := makeMap("", unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0, 0)
	if err != nil {
		t.Skipf("bpf(2) is not to be had: %v", err)
	}
	unix.Close(fd)
}

func TestFraming(t *testing.T) {
	c := newClient(t)
	c.send("\n   \n\r\n  \r\n")
	same(t, c.do("nothing of the kind"), "Command not recognized")
	c.send("COMM_FOR_PID 1\nfoo\nCOMM_FOR_PID     1   0\r\n")
	comm, _ := os.ReadFile("/proc/1/comm")
	same(t, c.reply(), strings.TrimSpace(string(comm)))
	same(t, c.reply(), "Command not recognized")
	same(t, c.reply(), strings.TrimSpace(string(comm)))
	c.send("exit\n")
	if err := <-c.end; err != nil {
		t.Error(err)
	}
}

func TestUnrecognized(t *testing.T) {
	c := newClient(t)
	for _, line := range []string{
		"BPF_CREATE_MAP", "BPF_CREATE_MAP 1 8 40 10240", "BPF_CREATE_MAP x 8 40 10240 0", "BPF_CREATE_MAP +1 8 40 10240 0", "GET_KSYM_NAME +1", "BPF_CREATE_MAP 1 name 8 40 10240 x",
		"BPF_CREATE_MAP 1 8 0x28 10240 0", "BPF_CREATE_MAP 1 8 40xyz 10240 0", "BPF_CREATE_MAP 1 8 4294967296 1 0",
		"BPF_CREATE_MAP 99999999999999999999 8 4 1 0", "COMM_FOR_PID", "COMM_FOR_PID one", "COMM_FOR_PID\t1", "\tCOMM_FOR_PID 1",
		"comm_for_pid 1", "COMM_FOR_PID 1\x00", "COMM_FOR_PID\x00 1", "\x00", "COMM_FOR_PID 1 \x00", "HELP \x00", "PERF_READER_POLL 0 1", "PERF_READER_POLL 0 1 x",
		"BPF_GET_FIRST_KEY 3 4 x", "BPF_GET_FIRST_KEY 3 4 4 x", "GET_TRACE_EVENTS_CATEGORIES /no/such/directory",
		"BPF_ATTACH_KPROBE 3 0 e", "BPF_PROG_LOAD 2 name 8 GPL 1", "BPF_PROG_LOAD 2 name eight GPL 1 AAAA", "GET_KSYM_NAME abc",
	} {
		same(t, c.do("%s", line), "Command not recognized")
	}
	same(t, c.do("GET_KPROBES_BLACKLIST /no/such"), "Open failed, ignoring", "Command not recognized")
	same(t, c.do("COMM_FOR_PID 2000000000"), "Open failed, ignoring", "Command not recognized")
	same(t, c.do("LAST_ERROR")[:1], "last_error: ret=2")
	for line, why := range map[string]string{
		"no\x00pe": `"no\x00pe": no such command`, "BPF_CREATE_MAP x": "BPF_CREATE_MAP: an argument is missing or no number", "PERF_READER_POLL 0 1 x": "PERF_READER_POLL: an argument",
		"GET_TRACE_EVENTS /no such": "GET_TRACE_EVENTS: /no/events/such: no such file",
	} {
		same(t, c.do("%s", line), "Command not recognized")
		if got := c.do("LAST_ERROR"); len(got) != 2 || !strings.HasPrefix(got[1], why) {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// TestEnds: the last line counts without an end, and all ends with it.
func TestEnds(t *testing.T) {
	c := newClient(t)
	c.send("GET_TRACE_EVENTS /no such\nfoo")
	c.in.Close()
	same(t, c.reply(), "Command not recognized")
	same(t, c.reply(), "Command not recognized")
	c.finish()
}

// TestLongLines: a line of the maximum is a line, one byte more is an error, and
// the session goes on.
func TestLongLines(t *testing.T) {
	c := newClient(t)
	comm, _ := os.ReadFile("/proc/1/comm")
	const command = "COMM_FOR_PID 1"
	for _, more := range []int{0, 1} {
		go c.send(command + strings.Repeat(" ", MaxLine-len(command)+more) + "\n")
		want := []string{strings.TrimSpace(string(comm))}
		if more > 0 {
			want = []string{"Line too long, at most 67108864 bytes, ignoring", "Command not recognized"}
		}
		same(t, c.reply(), want...)
	}
	same(t, c.do(command), strings.TrimSpace(string(comm)))
	// Many words take no memory either.
	go c.send(command + strings.Repeat(" 0", 4<<20) + "\n")
	same(t, c.reply(), strings.TrimSpace(string(comm)))
}

// instruction is a struct bpf_insn in bytes.
func instruction(code, dst, src byte, off int16, imm int32) []byte {
	b := []byte{code, dst | src<<4}
	b = binary.NativeEndian.AppendUint16(b, uint16(off))
	return binary.NativeEndian.AppendUint32(b, uint32(imm))
}

// program joins instructions to a program in base64, with its length.
func assemble(insns ...[]byte) string {
	var b []byte
	for _, in := range insns {
		b = append(b, in...)
	}
	return fmt.Sprintf("%d GPL 264721 %s", len(b), base64.StdEncoding.EncodeToString(b))
}

// Instructions that tests share.
var (
	exit    = instruction(0x95, 0, 0, 0, 0)
	zero    = instruction(0xb7, 0, 0, 0, 0)
	nothing = assemble(zero, exit)
)

// loadMap puts a map's number into a register.
func loadMap(reg byte, fd int) []byte {
	return append(instruction(loadImm64, reg, unix.BPF_PSEUDO_MAP_FD, 0, int32(fd)), make([]byte, 8)...)
}

// outputProgram is a program that sends size bytes of stack to a perf event array.
func outputProgram(fd, size int) string {
	insns := [][]byte{instruction(0xbf, 6, 1, 0, 0)} // r6 = r1
	for off := -8; off >= -size-7; off -= 8 {
		insns = append(insns, instruction(0x7a, 10, 0, int16(off), 0x61616161)) // *(u64 *)(r10 + off) = …
	}
	room := int32(size+7) &^ 7
	insns = append(insns, instruction(0xbf, 1, 6, 0, 0), loadMap(2, fd),
		append(instruction(loadImm64, 3, 0, 0, -1), make([]byte, 8)...), // BPF_F_CURRENT_CPU
		instruction(0xbf, 4, 10, 0, 0), instruction(0x07, 4, 0, 0, -room),
		instruction(0xb7, 5, 0, 0, int32(size)), instruction(0x85, 0, 0, 0, 25), // bpf_perf_event_output
		zero, exit)
	return assemble(insns...)
}

// stay keeps the calling goroutine on a CPU, so that what it does is seen there.
func stay(t *testing.T, cpu int) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	var old, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		t.Fatal(err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Skipf("cannot stay on CPU %d: %v", cpu, err)
	}
	t.Cleanup(func() { unix.SchedSetaffinity(0, &old) })
}
