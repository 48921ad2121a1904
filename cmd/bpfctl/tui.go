package main

import (
	"errors"
	"fmt"
	"os"

	"bpfd/internal/spawn"
)

// All that bpfctl says to its user is in this file.
//
// Messages go to standard error, one line each, and begin with "bpfctl: ". No
// capitalized initials and no periods at the end. A message names the target
// if the cause is there, and what to do if something can be done.

const (
	rootShort = "run BPF tools of this machine against another one"
	rootLong  = `bpfctl runs BPF tools of this machine against another one.

The tool runs here, unmodified; all its BPF happens on the target, on which
nothing is installed but bpfd.

  bpfctl run -t shell: -- opensnoop
  bpfctl run -t root@board -- bpftrace -e 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }'
`
	targetUsage = "what to run against: a name, [user@]host, or a URL"
	runShort    = "run a tool against a target"
	runLong     = `run runs TOOL, which is installed on this machine, against the target.

Its standard input, output and error are those of bpfctl. The exit status is
the tool's, 128+N if signal N ended it, 127 if it was not found, 126 if it
could not be executed, and 125 if bpfctl failed.

Signals go to the tool. If the target does not answer when Ctrl-C is pressed,
bpfctl says so, and the next one ends the tool.

What the tool starts itself, as bpftrace does with -c CMD and system(), runs on
this machine: the target's probes do not see it.`
	shellShort = "open a shell in which every BPF tool acts on the target"
)

// Exit statuses of bpfctl's own failures, as in env(1) and timeout(1).
const statusFailed = 125

func failure(err error) { fmt.Fprintln(os.Stderr, "bpfctl:", err) }

func warnSyscalls(err error) string {
	return fmt.Sprintf("the tool may not know the names of the target's system calls: %v", err)
}

func warn(msg string) { fmt.Fprintln(os.Stderr, "bpfctl: warning:", msg) }

func statusOf(err error) int {
	if e := (*spawn.Error)(nil); errors.As(err, &e) {
		return e.Status
	}
	return statusFailed
}

func warnStartsHere(tool, flag, target string) string {
	return fmt.Sprintf("%s %s runs its command on this machine, not on %s: its probes will not see it; start it on the target and use -p PID", tool, flag, target)
}

func errNoTarget() error {
	return errors.New("which target? give -t TARGET, for example -t shell: for this machine, or -t root@board")
}

func errEmptyTarget() error {
	return errors.New("-t names no target: it is empty")
}

func errTarget(target string, err error) error { return fmt.Errorf("%s: %w", target, err) }

func errTrace(err error) error { return fmt.Errorf("cannot write the trace: %w", err) }

// errListener is about a socket behind which something starts bpfd.
func errListener(err error) error {
	return fmt.Errorf("%w: what listens at the socket serves as many connections as it may, or cannot start bpfd; systemd's journal there has more about bpfd.socket", err)
}

func errSaid(err error, said string) error {
	return fmt.Errorf("%w; the target's side said: %s", err, said)
}
