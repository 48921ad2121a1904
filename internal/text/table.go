package text

import "sync"

// command is a row of the table of commands, from which lines are understood,
// HELP is answered, and the tables of doc/text-protocol.md are made.
type command struct {
	name     string
	variants []variant // with ascending numbers of arguments
	reply    string
	// choose picks the variant where the number of arguments does not.
	choose func(words [][]byte) int
}

// Arguments and replies that several commands share.
const (
	fileReply    = "the file"
	probeArgs    = "prog:i type:i event:s "
	eventReply   = "`ret=` the event's number, or -1"
	symbolReply  = "`ret=0`, then `name;offset;module`; or `ret=-1`"
	addressReply = "`ret=0`, then the address in decimal; or `ret=-1`"
	zeroReply    = "`ret=0` or `ret=-1`"
)

// table is all commands but exit, which is not answered.
var table = []command{
	{name: "READ_AVAILABLE_FILTER_FUNCTIONS", reply: fileReply, variants: []variant{{dialects: "A", args: "tracefs:s", run: filterFunctions}}},
	{name: "GET_AVAIL_FILTER_FUNCS", reply: fileReply, variants: []variant{{dialects: "A–C", args: "tracefs:s", run: filterFunctions}}},
	{name: "GET_KALLSYMS", reply: fileReply, variants: []variant{{dialects: "D–E", run: kallsyms}}},
	{name: "GET_KPROBES_BLACKLIST", reply: fileReply, variants: []variant{{dialects: "A–E", args: "tracefs:s", run: blacklist}}},
	{name: "GET_TRACE_EVENTS_CATEGORIES", reply: "names of directories, one a line", variants: []variant{{dialects: "A–E", args: "tracefs:s", run: categories}}},
	{name: "GET_TRACE_EVENTS", reply: "names of directories, one a line", variants: []variant{{dialects: "A–E", args: "tracefs:s category:s", run: events}}},
	{name: "COMM_FOR_PID", reply: "the file /proc/PID/comm", variants: []variant{{dialects: "C–E", args: "pid:i", run: commForPid}}},

	{name: "BPF_CREATE_MAP", reply: "`ret=` the map's number, or -1", variants: []variant{
		{dialects: "A", args: "type:i key_size:u value_size:u max_entries:u flags:u", run: createMapA},
		{dialects: "B–D", args: "type:i name:s key_size:u value_size:u max_entries:u flags:u", run: createMapB},
		{dialects: "E", args: "type:i name:s key_size:u value_size:u max_entries:u flags:u allow_rlimit:i", run: createMapB}}},
	{name: "BPF_PROG_LOAD", reply: "`ret=` the program's number, or -1", choose: chooseProgLoad, variants: []variant{
		{dialects: "A", args: "type:i len:i license:s kern_version:u insns:b", run: progLoadA},
		{dialects: "B–E", args: "type:i name:s len:i license:s kern_version:u insns:b", run: progLoadB}}},

	{name: "BPF_ATTACH_KPROBE", reply: "`ret=` the event's number, in dialect A the program's, or -1", variants: []variant{
		{dialects: "B–D", args: probeArgs + "function:s", run: attachKprobeB},
		{dialects: "E", args: probeArgs + "function:s offset:U maxactive:i", run: attachKprobeE},
		{dialects: "A", args: probeArgs + "function:s pid:i cpu:i group:i", run: attachKprobeA}}},
	{name: "BPF_DETACH_KPROBE", reply: zeroReply, variants: []variant{{dialects: "A–E", args: "event:s", run: detachKprobe}}},
	{name: "BPF_ATTACH_UPROBE", reply: eventReply, variants: []variant{
		{dialects: "C–E", args: probeArgs + "path:s offset:U pid:i", run: attachUprobe}}},
	{name: "BPF_DETACH_UPROBE", reply: "`ret=0`, also if there is none", variants: []variant{{dialects: "C–E", args: "event:s", run: detachUprobe}}},
	{name: "BPF_ATTACH_TRACEPOINT", reply: "`ret=` the event's number, in dialect A the program's, or -1", variants: []variant{
		{dialects: "B–E", args: "prog:i category:s name:s", run: attachTracepointB},
		{dialects: "A", args: "prog:i category:s name:s pid:i cpu:i group:i", run: attachTracepointA}}},
	{name: "BPF_DETACH_TRACEPOINT", reply: "`ret=0`, also if there is none", variants: []variant{{dialects: "C–E", args: "category:s name:s", run: detachTracepoint}}},
	{name: "BPF_ATTACH_PERF_EVENT", reply: eventReply, variants: []variant{
		{dialects: "C–E", args: "prog:i type:u config:u period:U freq:U pid:i cpu:i group:i", run: attachPerfEvent}}},
	{name: "BPF_CLOSE_PERF_EVENT_FD", reply: zeroReply, variants: []variant{{dialects: "D–E", args: "event:i", run: closePerfEvent}}},

	{name: "BPF_OPEN_PERF_BUFFER", reply: "`ret=` the buffer's number, or -1", variants: []variant{{dialects: "A–E", args: "pid:i cpu:i pages:i", run: openPerfBuffer}}},
	{name: "PERF_READER_POLL", reply: "lines `BUFFER SIZE base64`, none if nothing arrived; or `ret=-1`", variants: []variant{
		{dialects: "A–E", args: "timeout_ms:i n:i buffer:*", run: perfReaderPoll}}},

	{name: "BPF_UPDATE_ELEM", reply: "`ret=0`, -1, -22 (no base64) or -12 (no memory)", variants: []variant{
		{dialects: "A–E", args: "map:i key:b key_len:i value:b value_len:i flags:U", run: updateElem}}},
	{name: "BPF_LOOKUP_ELEM", reply: "the value in base64, or `ret=-1`", variants: []variant{{dialects: "A–E", args: "map:i key:b key_len:i value_len:i", run: lookupElem}}},
	{name: "BPF_GET_FIRST_KEY", reply: "the key in base64, or `ret=-1`; dumping: key, value, key, value … one a line, then an empty line", variants: []variant{
		{dialects: "A", args: "map:i key_len:i", run: firstKey},
		{dialects: "B (to 2018-01-12), always dumps", args: "map:i key_len:i value_len:i", run: firstKeyDump},
		{dialects: "B–E", args: "map:i key_len:i value_len:i dump_all:i", run: firstKeyMaybe}}},
	{name: "BPF_GET_NEXT_KEY", reply: "the key in base64, or `ret=-1`", variants: []variant{{dialects: "A–E", args: "map:i key:b key_len:i", run: getNextKey}}},
	{name: "BPF_DELETE_ELEM", reply: zeroReply, variants: []variant{{dialects: "A–E", args: "map:i key:b key_len:i", run: deleteElem}}},
	{name: "BPF_CLEAR_MAP", reply: "`ret=` how many entries were deleted, or -1", variants: []variant{{dialects: "B–E", args: "map:i key_len:i", run: clearMap}}},

	{name: "GET_KSYM_NAME", reply: symbolReply, variants: []variant{{dialects: "C–E", args: "address:U", run: ksymName}}},
	{name: "GET_KSYM_ADDR", reply: addressReply, variants: []variant{{dialects: "C–E", args: "name:s", run: ksymAddr}}},
	{name: "GET_USYM_NAME", reply: symbolReply, variants: []variant{{dialects: "C–E", args: "pid:i address:U demangle:i", run: usymName}}},
	{name: "GET_USYM_ADDR", reply: addressReply, variants: []variant{{dialects: "C–E", args: "pid:i name:s module:s", run: usymAddr}}},

	{name: "HELP", reply: "this list, one command a line", variants: []variant{{run: help}}},
	{name: "VERSION", reply: "`ret=1`, the version of the extensions; then bpfd's version, the machine and the kernel", variants: []variant{{run: version}}},
	{name: "LAST_ERROR", reply: "`ret=` the errno of what failed last, 0 if nothing has; then the command and the cause; then the verifier's log", variants: []variant{{run: lastError}}},
	{name: "BPF_CREATE_MAP_IN_MAP", reply: "`ret=` the map's number, or -1", variants: []variant{
		{args: "type:i name:s key_size:u max_entries:u flags:u inner_map:i", run: createMapInMap}}},
	{name: "BPF_DUMP_MAP", reply: "lines `key value`, nothing for an empty map; or `ret=-1`", variants: []variant{{args: "map:i", run: dumpMap}}},
	{name: "BPF_DUMP_AND_CLEAR_MAP", reply: "as BPF_DUMP_MAP; the entries are deleted as they are read", variants: []variant{{args: "map:i", run: dumpAndClear}}},
	{name: "BPF_DELETE_BATCH", reply: "`ret=` how many of the keys were there, or -1", variants: []variant{{args: "map:i key:*", run: deleteBatch}}},
	{name: "PERF_READER_LOST", reply: "`ret=` how many records the buffer has lost, as far as it has been read, or -1", variants: []variant{{args: "buffer:i", run: perfReaderLost}}},
	{name: "DETACH_ALL", reply: "`ret=` from how many events programs were detached", variants: []variant{{run: detachAll}}},
	{name: "CLOSE", reply: zeroReply + "; for a map, a program, or what else has a number", variants: []variant{{args: "number:i", run: closeObject}}},
	{name: "WAIT", reply: "`ret=0` when the time is over, whatever arrives meanwhile", variants: []variant{{args: "ms:i", run: pauseCommand}}},
}

// byName returns the commands by their names. The table is prepared the first
// time.
var byName = sync.OnceValue(func() map[string]*command {
	m := make(map[string]*command, len(table))
	for i := range table {
		c := &table[i]
		for j := range c.variants {
			c.variants[j].prepare()
		}
		m[c.name] = c
	}
	return m
})
