package abi

// ArgKind is what the argument of an ioctl(2) means.
type ArgKind uint8

const (
	ArgNone   ArgKind = iota
	ArgScalar         // a number
	ArgFD             // a descriptor
	ArgIn             // a pointer to Size bytes to read
	ArgOut            // a pointer to Size bytes to write
	ArgStr            // a string
	ArgQuery          // struct perf_event_query_bpf
	ArgAttr           // struct perf_event_attr
)

// Ioctl is a request on a perf event.
type Ioctl struct {
	Name  string
	Since string // Linux version
	Arg   ArgKind
	Size  uint32
	// Sized requests have the size of a pointer in their number.
	Sized bool
	Note  string // for users
}

// PerfCall is a way to use a perf event, for users to read.
type PerfCall struct {
	Name, Since string
	Level       Level
	Note        string
}

// PerfCalls are what else than ioctl(2) concerns perf events.
var PerfCalls = [...]PerfCall{
	{"perf_event_open", "2.6.31", Full, "a pid is the target's; a uprobe's file is the target's as well"},
	{"read of a counter", "2.6.31", Full, "after mmap from the next ioctl on"},
	{"mmap of a ring", "2.6.31", Partial, "one that is overwritten (mapped read-only) is refused"},
	{"mmap of an AUX area", "4.1", No, "hardware tracing is refused"},
	{"poll, select, epoll", "2.6.31", Full, ""},
}

// PerfIoctls are the requests of include/uapi/linux/perf_event.h by their
// numbers on 64-bit machines.
var PerfIoctls = map[uint32]Ioctl{
	0x2400:     {Name: "PERF_EVENT_IOC_ENABLE", Since: "2.6.31", Arg: ArgScalar},
	0x2401:     {Name: "PERF_EVENT_IOC_DISABLE", Since: "2.6.31", Arg: ArgScalar},
	0x2402:     {Name: "PERF_EVENT_IOC_REFRESH", Since: "2.6.31", Arg: ArgScalar},
	0x2403:     {Name: "PERF_EVENT_IOC_RESET", Since: "2.6.31", Arg: ArgScalar},
	0x40082404: {Name: "PERF_EVENT_IOC_PERIOD", Since: "2.6.31", Arg: ArgIn, Size: 8},
	0x2405:     {Name: "PERF_EVENT_IOC_SET_OUTPUT", Since: "2.6.32", Arg: ArgFD},
	0x40082406: {Name: "PERF_EVENT_IOC_SET_FILTER", Since: "2.6.33", Arg: ArgStr, Sized: true},
	0x80082407: {Name: "PERF_EVENT_IOC_ID", Since: "3.12", Arg: ArgOut, Size: 8, Sized: true},
	0x40042408: {Name: "PERF_EVENT_IOC_SET_BPF", Since: "4.1", Arg: ArgFD},
	0x40042409: {Name: "PERF_EVENT_IOC_PAUSE_OUTPUT", Since: "4.7", Arg: ArgScalar},
	0xc008240a: {Name: "PERF_EVENT_IOC_QUERY_BPF", Since: "4.16", Arg: ArgQuery, Sized: true},
	0x4008240b: {Name: "PERF_EVENT_IOC_MODIFY_ATTRIBUTES", Since: "4.17", Arg: ArgAttr, Sized: true},
}

// PerfAttr are the fields of struct perf_event_attr that --trace prints.
var PerfAttr = []Field{
	u32("type", 0), u32("size", 4), u64("config", 8), u64("sample_period", 16), u64("sample_type", 24), u64("read_format", 32),
	u64("flags", 40), u32("wakeup_events", 48), u32("bp_type", 52), u64("config1", 56), u64("config2", 64),
}

// RequestFor returns a request's number on a machine with pointers of
// wordSize bytes.
func RequestFor(nr uint32, i Ioctl, wordSize int) uint32 {
	if i.Sized {
		return nr&^(0x3fff<<16) | uint32(wordSize)<<16
	}
	return nr
}
