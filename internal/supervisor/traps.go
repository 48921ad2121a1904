package supervisor

import (
	"bpfd/internal/notify"

	"golang.org/x/sys/unix"
)

// trap is a row of the table of system calls that are answered here.
type trap struct {
	notify.Trap
	handle func(*Supervisor, *request) answer
	slow   func(*request) bool // nil: never
}

func always(*request) bool { return true }

// perfIoctl is the type of perf events' ioctl requests, in bits 8 to 15.
const perfIoctl = '$' << 8

// shared narrows mmap(2) to shared mappings of a descriptor.
var shared = []notify.Condition{
	{Arg: 3, Mask: unix.MAP_SHARED, Value: unix.MAP_SHARED},
	{Arg: 4, Mask: 1 << 31, Value: 0},
}

// memlock narrows prlimit64(2) to RLIMIT_MEMLOCK.
var memlock = []notify.Condition{{Arg: 1, Mask: ^uint32(0), Value: unix.RLIMIT_MEMLOCK}}

// traps are the system calls which are answered, the most frequent first. Those
// that not every architecture has are in archTraps.
var trapRows = append([]trap{
	{notify.Trap{Nr: unix.SYS_BPF}, (*Supervisor).bpf, slowBPF},
	{notify.Trap{Nr: unix.SYS_PERF_EVENT_OPEN}, (*Supervisor).perfEventOpen, always},
	{notify.Trap{Nr: unix.SYS_IOCTL, Conditions: []notify.Condition{{Arg: 1, Mask: 0xff00, Value: perfIoctl}}}, (*Supervisor).perfIoctl, nil},
	{notify.Trap{Nr: unix.SYS_MMAP, Conditions: shared}, (*Supervisor).mmap, always},
	{notify.Trap{Nr: unix.SYS_EPOLL_CTL}, (*Supervisor).epollCtl, nil},
	{notify.Trap{Nr: unix.SYS_PPOLL}, (*Supervisor).poll, nil},
	{notify.Trap{Nr: unix.SYS_PSELECT6}, (*Supervisor).selectCall, nil},
	{notify.Trap{Nr: unix.SYS_CLOCK_NANOSLEEP}, (*Supervisor).sleep, nil},
	{notify.Trap{Nr: unix.SYS_UNAME}, (*Supervisor).uname, nil},
	{notify.Trap{Nr: unix.SYS_READLINKAT}, (*Supervisor).readlink, nil},
	{notify.Trap{Nr: unix.SYS_STATFS}, (*Supervisor).statfs, always},
	{notify.Trap{Nr: unix.SYS_FSTATFS}, (*Supervisor).fstatfs, always},
	{notify.Trap{Nr: unix.SYS_PIDFD_OPEN}, (*Supervisor).pidfdOpen, always},
	{notify.Trap{Nr: unix.SYS_NAME_TO_HANDLE_AT}, (*Supervisor).nameToHandle, always},
	{notify.Trap{Nr: unix.SYS_PRLIMIT64, Conditions: memlock}, (*Supervisor).prlimit, nil},
	{notify.Trap{Nr: unix.SYS_KILL, Conditions: []notify.Condition{{Arg: 1, Mask: ^uint32(0), Value: 0}}}, (*Supervisor).kill, nil},
}, archTraps...)

// trapTable finds a row by the number of its call. It is filled at start: the
// rows refer to functions that refer to it.
var trapTable = map[int32]*trap{}

func init() {
	for i := range trapRows {
		trapTable[int32(trapRows[i].Nr)] = &trapRows[i]
	}
}

func traps() []notify.Trap {
	list := make([]notify.Trap, len(trapRows))
	for i, t := range trapRows {
		list[i] = t.Trap
	}
	return list
}
