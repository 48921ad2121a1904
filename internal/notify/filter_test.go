package notify

import (
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ioctlTrap reports ioctls with the type '$' whose third argument is 0.
var ioctlTrap = Trap{Nr: unix.SYS_IOCTL, Conditions: []Condition{{Arg: 1, Mask: 0xff00, Value: '$' << 8}, {Arg: 2, Mask: ^uint32(0), Value: 0}}}

// filter is a program that a kernel without seccomp can run as well.
func filter(t *testing.T, traps []Trap) *bpf.VM {
	t.Helper()
	raw, err := Filter(traps)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter cannot be disassembled")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// data is struct seccomp_data. Classic BPF reads numbers in network order, but
// seccomp's in the machine's: each word stands for itself here.
func data(nr, arch uint32, args ...uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, nr)
	b = binary.BigEndian.AppendUint32(b, arch)
	b = append(b, make([]byte, 8)...) // instruction pointer
	for i := range 6 {
		var v uint64
		if i < len(args) {
			v = args[i]
		}
		b = binary.BigEndian.AppendUint32(b, uint32(v)) // little endian: the low half is first
		b = binary.BigEndian.AppendUint32(b, uint32(v>>32))
	}
	return b
}

func TestFilter(t *testing.T) {
	own := arches[runtime.GOARCH]
	const (
		foreign = 0x4000_0003 // AUDIT_ARCH_I386
		allow   = unix.SECCOMP_RET_ALLOW
		report  = unix.SECCOMP_RET_USER_NOTIF
		enosys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
	vm := filter(t, []Trap{{Nr: unix.SYS_BPF}, ioctlTrap, {Nr: unix.SYS_DUP, Conditions: []Condition{{Arg: 0, Mask: 1, Value: 1}}}, {Nr: unix.SYS_KILL}})
	for _, c := range []struct {
		name string
		data []byte
		want uint32
	}{
		{"bpf", data(unix.SYS_BPF, own), report},
		{"behind a trap with conditions", data(unix.SYS_KILL, own), report},
		{"not trapped", data(unix.SYS_GETPID, own), allow},
		{"an ioctl of perf events", data(unix.SYS_IOCTL, own, 3, 0x2400, 0), report},
		{"with other bits that are masked", data(unix.SYS_IOCTL, own, 3, 0x4008_2406, 0), report},
		{"another ioctl", data(unix.SYS_IOCTL, own, 3, 0x5401, 0), allow},
		{"an ioctl with what must not be", data(unix.SYS_IOCTL, own, 3, 0x2400, 1), allow},
		{"only the low half counts", data(unix.SYS_IOCTL, own, 3, 0x1_0000_2400, 1<<32), report},
		{"a bit is set", data(unix.SYS_DUP, own, 7), report},
		{"a bit is not set", data(unix.SYS_DUP, own, 6), allow},
		{"bpf by the second table", data(compat[runtime.GOARCH][0], foreign), enosys},
		{"perf_event_open by the second table", data(compat[runtime.GOARCH][1], foreign), enosys},
		{"other calls by the second table", data(1, foreign), allow},
		{"bpf's number there is another call here", data(unix.SYS_BPF, foreign), allow},
		{"the x32 table", data(unix.SYS_BPF|x32Bit, own), enosys},
	} {
		got, err := vm.Run(c.data)
		if err != nil || uint32(got) != c.want {
			t.Errorf("%s: %#x, %v; want %#x", c.name, got, err, c.want)
		}
	}
}

// A jump of the filter's programs has 8 bits.
func TestManyConditions(t *testing.T) {
	many := make([]Condition, 60)
	for i := range many {
		many[i] = Condition{Arg: i % 6, Mask: 1 << (i % 32), Value: 0}
	}
	vm := filter(t, []Trap{{Nr: unix.SYS_READ, Conditions: many}, {Nr: unix.SYS_WRITE}})
	own := arches[runtime.GOARCH]
	for _, c := range []struct {
		data []byte
		want uint32
	}{
		{data(unix.SYS_READ, own), unix.SECCOMP_RET_USER_NOTIF},
		{data(unix.SYS_READ, own, 1), unix.SECCOMP_RET_ALLOW},
		{data(unix.SYS_WRITE, own, 1), unix.SECCOMP_RET_USER_NOTIF},
	} {
		if got, err := vm.Run(c.data); err != nil || uint32(got) != c.want {
			t.Errorf("%#x, %v; want %#x", got, err, c.want)
		}
	}
}
