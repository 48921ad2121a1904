package main

// What bpfctl support says.
const (
	supportShort = "print which BPF commands are supported, and how"
	supportLong  = `support prints the tables by which bpfctl answers a tool's calls: the commands
of bpf(2), the types of maps, and what can be done with perf events, each with
the Linux version that brought it, how well it is supported, and a note.

What a table does not have is refused as an older kernel refuses what it does
not know. Of what it has, the target's kernel decides.`
	supportExample = "  bpfctl support | grep -v full"

	headCommand = "COMMAND"
	headMapType = "MAP TYPE"
	headPerf    = "PERF EVENTS"
)

func supportHeads(kind string) []any { return []any{kind, "SINCE", "SUPPORT", "NOTE"} }
