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
	Name string
	Arg  ArgKind
	Size uint32
	// Sized requests have the size of a pointer in their number.
	Sized bool
}

// PerfIoctls are the requests of include/uapi/linux/perf_event.h by their
// numbers on 64-bit machines.
var PerfIoctls = map[uint32]Ioctl{
	0x2400:     {Name: "PERF_EVENT_IOC_ENABLE", Arg: ArgScalar},
	0x2401:     {Name: "PERF_EVENT_IOC_DISABLE", Arg: ArgScalar},
	0x2402:     {Name: "PERF_EVENT_IOC_REFRESH", Arg: ArgScalar},
	0x2403:     {Name: "PERF_EVENT_IOC_RESET", Arg: ArgScalar},
	0x40082404: {Name: "PERF_EVENT_IOC_PERIOD", Arg: ArgIn, Size: 8},
	0x2405:     {Name: "PERF_EVENT_IOC_SET_OUTPUT", Arg: ArgFD},
	0x40082406: {Name: "PERF_EVENT_IOC_SET_FILTER", Arg: ArgStr, Sized: true},
	0x80082407: {Name: "PERF_EVENT_IOC_ID", Arg: ArgOut, Size: 8, Sized: true},
	0x40042408: {Name: "PERF_EVENT_IOC_SET_BPF", Arg: ArgFD},
	0x40042409: {Name: "PERF_EVENT_IOC_PAUSE_OUTPUT", Arg: ArgScalar},
	0xc008240a: {Name: "PERF_EVENT_IOC_QUERY_BPF", Arg: ArgQuery, Sized: true},
	0x4008240b: {Name: "PERF_EVENT_IOC_MODIFY_ATTRIBUTES", Arg: ArgAttr, Sized: true},
}

// RequestFor returns a request's number on a machine with pointers of
// wordSize bytes.
func RequestFor(nr uint32, i Ioctl, wordSize int) uint32 {
	if i.Sized {
		return nr&^(0x3fff<<16) | uint32(wordSize)<<16
	}
	return nr
}
