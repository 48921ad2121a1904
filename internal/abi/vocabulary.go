// Package abi describes the kernel's bpf(2) and perf interfaces as data: which
// bytes of a call are pointers and descriptors, and how long what they point
// to is. The marshaller, the trace printer, bpfctl support and the tests read
// the same rows.
package abi

// Kind is what a descriptor on the target is.
type Kind uint8

// The kinds of descriptors.
const (
	KindNone Kind = iota
	KindMap
	KindProg
	KindLink
	KindBTF
	KindPerf
	KindIter
	KindToken
	KindPidfd
	KindOther
)

// kindNames are what the kernel calls them in /proc/PID/fd.
var kindNames = map[string]Kind{
	"anon_inode:bpf-map":      KindMap,
	"anon_inode:bpf-prog":     KindProg,
	"anon_inode:bpf_link":     KindLink,
	"anon_inode:bpf-link":     KindLink,
	"anon_inode:btf":          KindBTF,
	"anon_inode:[perf_event]": KindPerf,
	"anon_inode:bpf_iter":     KindIter,
	"anon_inode:bpf-token":    KindToken,
	"anon_inode:[pidfd]":      KindPidfd,
}

// KindOf returns the kind of a descriptor by the text of its link in /proc/PID/fd.
func KindOf(link string) Kind {
	if k, ok := kindNames[link]; ok {
		return k
	}
	return KindOther
}

// FieldKind is what a field of a structure means to who forwards it.
type FieldKind uint8

const (
	Scalar  FieldKind = iota // forwarded as it is
	Back                     // a scalar which the kernel writes as well
	FD                       // 4 bytes: a descriptor
	Ifindex                  // 4 bytes: an interface's number, never a descriptor
	In                       // 8 bytes: a pointer to what the kernel reads
	Out                      // a pointer to what the kernel writes
	InOut                    // a pointer to what it reads and writes
	Str                      // a pointer to a string which the kernel reads
	Text                     // a pointer to a string which the kernel writes
	Log                      // the same, written on failure too
)

// Rule says how long the memory behind a pointer is.
type Rule uint8

const (
	Bytes     Rule = iota // N bytes
	Sibling               // the u32 at offset Of, times N
	Records               // the u32 at offset Of times the u32 at offset N
	KeySize               // a key of the map
	ValueSize             // a value of the map, for each CPU where there are such
	Keys                  // keys for the batch's count
	Values                // values for the batch's count
	Token                 // the opaque position in a batch
)

// Len is the length of the memory behind a pointer. Where the kernel writes the
// number at Of back, it is how much of the memory it has written.
type Len struct {
	Rule Rule
	Of   uint16
	N    uint32
	Max  uint32 // of the number at Of: more is E2BIG; 0: no limit
	// Free is how many bytes the kernel writes at most if the number is 0,
	// which then means that there is no limit.
	Free uint32
}

// Field is a field of union bpf_attr or of a structure behind it.
type Field struct {
	Name string
	Off  uint16
	Size uint8
	Kind FieldKind
	Len  Len
}

// fd, u32 … are the vocabulary of the rows.
func fd(name string, off uint16) Field  { return Field{Name: name, Off: off, Size: 4, Kind: FD} }
func u32(name string, off uint16) Field { return Field{Name: name, Off: off, Size: 4} }
func u64(name string, off uint16) Field { return Field{Name: name, Off: off, Size: 8} }
func b32(name string, off uint16) Field { return Field{Name: name, Off: off, Size: 4, Kind: Back} }
func b64(name string, off uint16) Field { return Field{Name: name, Off: off, Size: 8, Kind: Back} }
func str(name string, off uint16) Field { return Field{Name: name, Off: off, Size: 8, Kind: Str} }
func name(n string, off uint16) Field   { return Field{Name: n, Off: off, Size: 16} }

func in(name string, off uint16, l Len) Field { return Field{name, off, 8, In, l} }
func out(name string, off uint16, l Len) Field {
	return Field{name, off, 8, Out, l}
}
func inout(name string, off uint16, l Len) Field    { return Field{name, off, 8, InOut, l} }
func text(name string, off uint16, of uint16) Field { return Field{name, off, 8, Text, times(of, 1)} }
func log(name string, off uint16, of uint16) Field  { return Field{name, off, 8, Log, times(of, 1)} }

// times is the length of an array with as many elements of n bytes as the u32
// at offset of says.
func times(of uint16, n uint32) Len { return Len{Rule: Sibling, Of: of, N: n} }

// atMost is times for a count that the kernel limits.
func atMost(of uint16, n, limit uint32) Len { return Len{Rule: Sibling, Of: of, N: n, Max: limit} }

// unlimited is times for a count of which 0 lets the kernel write all it has,
// at most free bytes.
func unlimited(of uint16, n, free uint32) Len { return Len{Rule: Sibling, Of: of, N: n, Free: free} }

// records is the length of an array whose element count and element size are
// at two offsets.
func records(count, size uint16) Len { return Len{Rule: Records, Of: count, N: uint32(size)} }

// Hook names code for what words cannot say.
type Hook uint8

const (
	NoHook     Hook = iota
	ProgLoad        // descriptors inside of instructions
	Info            // structures with pointers of their own
	LinkCreate      // a union by attach type
	Attach          // target_fd may be an interface
	Stream          // returns how many bytes it has written
)

// Level says how well a command is supported.
type Level string

// The levels of support.
const (
	Full    Level = "full"
	Partial Level = "partial"
	No      Level = "no"
)

// Command is a row of the table.
type Command struct {
	Name   string
	Since  string // Linux version
	Size   uint16 // bytes of union bpf_attr that it uses
	Map    int16  // offset of the map's descriptor for KeySize …; -1: none
	Result bool   // returns a descriptor
	Errors bool   // out-buffers are valid on failure too
	Slow   bool   // may take long
	Runs   bool   // runs a program, which may write to rings and arrays
	Hook   Hook
	Fields []Field
	Level  Level
	Note   string
}
