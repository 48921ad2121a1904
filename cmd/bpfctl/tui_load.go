package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// What load, unload, ls and build say.

const (
	loadShort = "load a compiled BPF object on a target"
	loadLong  = `load loads PROG.o, an object file as clang -target bpf and bpfctl build make it,
on the target: maps, global data, programs, relocated for the target's kernel.
It is loaded as a whole or not at all.

With --pin DIR all of it is pinned below /sys/fs/bpf/DIR, as maps/NAME,
progs/NAME and, with --attach, links/NAME, and lives on when bpfctl has ended;
bpfctl unload DIR removes it. Dots in names become underscores.

Without --pin it is attached and lives until Ctrl-C. Until then load prints
what ring buffers and perf buffers carry: a line that names the map, and the
bytes; with --json a line of JSON for each record. Its type is, the first that
there is: the one that --event names; the struct that the map's definition
gives with __type(value, struct NAME); struct event.

Each program is attached where its section says, as libbpf names sections.

With --script FILE nothing is loaded: FILE gets the commands of bpfd's text
protocol that load and attach the object, relocated for the kernel that --for
names, to be played into a bpfd that no link leads to:
  cat FILE - | bpfd
The numbers of its maps are printed, and the commands that read them.`
	loadExample = `  bpfctl load -t root@board opensnoop.o --json
  bpfctl load -t pixel traffic.o --pin traffic --attach --set min_uid=10000
  bpfctl load --script opensnoop.txt opensnoop.o --for root@board
  bpfctl load -t board filter.o --pin filter --attach --ifname eth0 --map stats=traffic/maps/stats`

	loadPinUsage     = "pin everything into this `DIR` of the target's bpf file system"
	loadAttachUsage  = "attach each program where its section says (the default without --pin)"
	loadMapUsage     = "take a map from a pin: `NAME=PATH`; it must be like the object's"
	loadSetUsage     = "give a global variable its value: `VAR=VALUE`; arrays: a string, or VALUE,VALUE,…"
	loadBTFUsage     = "relocate against the types in this `FILE` instead of the running kernel's"
	loadIfnameUsage  = "network interface of the target for xdp and tc programs: `NAME`"
	loadCgroupUsage  = "cgroup of the target for cgroup programs: `DIR` (default: the root of cgroup2)"
	loadFreqUsage    = "samples per second and CPU for perf_event programs: `HZ`"
	loadJSONUsage    = "print records as JSON, decoded by their types"
	loadEventUsage   = "what records are: `[MAP=]STRUCT`"
	loadLogUsage     = "write the verifier's whole log to this `FILE` if it refuses a program"
	loadVerboseUsage = "print the verifier's log of programs that it accepts"
	loadScriptUsage  = "write commands of bpfd's text protocol to this `FILE` instead of loading; see --for"
	loadForUsage     = "what the script is for: a `TARGET` like the one that has no link, or a kernel's release, with --btf"
	scriptHead       = "NUMBER\tKIND\tNAME\tREAD IT WITH"

	unloadShort = "remove what load pinned on a target"
	unloadLong  = `unload detaches and removes what bpfctl load --pin DIR made, and nothing else.
If something else still uses a program, a map or a link, so that it stays
loaded, unload says what.`
	unloadExample = `  bpfctl unload -t pixel traffic`

	lsShort = "list the programs, maps and links of a target"
	lsLong  = `ls lists what is loaded on the target: programs, maps and links, with the pins
and processes that keep each of them. Programs that were attached without a
link show the process that holds them.`
	lsExample   = `  bpfctl ls -t pixel`
	lsJSONUsage = "print JSON"
	lsPrograms  = "PROGRAM\tTYPE\tNAME\tMAPS\tPINNED AT, HELD BY"
	lsMaps      = "MAP\tTYPE\tNAME\tKEY/VALUE/ENTRIES\tPINNED AT, HELD BY"
	lsLinks     = "LINK\tTYPE\tPROGRAM\tWHERE\tPINNED AT, HELD BY"

	buildShort = "compile a BPF program for a target"
	buildLong  = `build compiles PROG.c with this machine's clang for the target: for the
instructions that its kernel takes, with the macros that make PT_REGS_PARM1 and
BPF_KPROBE find arguments in its registers, and with a vmlinux.h of its types if
the program includes one. What follows -- is for clang.

It takes the packages clang, bpftool (for vmlinux.h) and libbpf-dev (for
bpf/bpf_helpers.h).`
	buildExample = `  bpfctl build -t pixel traffic.bpf.c -o traffic.o
  bpfctl build -t board probe.c -- -DLIMIT=10 -I include`
	buildOutputUsage = "write the object to this `FILE` (default: PROG.o in the current directory)"
	buildBTFUsage    = "make vmlinux.h of the types in this `FILE` instead of the running kernel's"

	untilInterrupted = "loaded until Ctrl-C"
)

// logLines is how much of the verifier's log a message shows.
const logLines = 8

const (
	statusInterrupted = 130 // 128+SIGINT, as a shell says it
	statusRefused     = 1   // clang found errors, as it says itself
	statusLeft        = 1   // unload left files that load did not make
)

var (
	errScriptFor = errors.New("--script FILE and --for TARGET go together")
	errScriptPin = errors.New("a script can neither pin nor take maps from pins: the text protocol has no command for it")
)

var errInterrupted = errors.New("interrupted; nothing was left on the target")

func errPair(flag, s string) error {
	return fmt.Errorf("--%s %s: it must be NAME=VALUE", flag, s)
}

func errTwice(flag, name string) error { return fmt.Errorf("--%s: %s is given twice", flag, name) }

func errLog(err, e error) error {
	return fmt.Errorf("%w\n  (the log cannot be written: %w)", err, e)
}

func attachedLine(name, where string) string { return "attached " + name + ": " + where }

func pinnedLine(path string) string { return "pinned " + path }

func removedLine(path string) string { return "removed " + path }

func detachedLine(what string) string { return "detached " + what }

func leftBehind(path string) string {
	return path + " is left on the target: bpfctl load did not make it"
}

func stillInUse(kind, name string, id uint32, users []string) string {
	by := "something that cannot be seen"
	if len(users) > 0 {
		by = strings.Join(users, ", ")
	}
	return fmt.Sprintf("%s %s (id %d) is still in use on the target, by %s", kind, name, id, by)
}

func lostEvents(name string, n uint64) {
	warn(fmt.Sprintf("map %s: %d records were lost, the buffer was full", name, n))
}

func verifierLog(name, log string) {
	fmt.Fprintf(os.Stderr, "program %s:\n%s\n", name, strings.TrimSpace(log))
}
