package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// What text says.

const (
	textShort = "speak the text protocol with a target"
	textLong  = `text speaks the text protocol of bpfd, that of 2017, with a target: a command a
line, answered by lines, binary values in base64. The command HELP lists the
commands; doc/text-protocol.md describes them.

On a terminal lines are edited, TAB completes commands, and the arrow keys find
the lines of former sessions, which are kept in $XDG_STATE_HOME/bpfd. Ctrl-C ends
a poll and drops a line, Ctrl-D ends the session; so does Ctrl-C where it ended
nothing. Below the reply of a command that failed stands why.

With FILE its lines are sent, each when the one before has been answered, and
the protocol is printed as it is. Why a command failed is told on standard
error; the others are sent nevertheless, and the exit status tells only of the
connection. Otherwise bpfctl passes on what it reads and
what the target answers, for programs that speak the protocol.

All that a session made on the target is gone when it ends.`
	textExample = `  bpfctl text -t root@board
  bpfctl text -t pixel opensnoop.txt
  echo GET_KALLSYMS | bpfctl text -t root@board`

	textPrompt     = "bpfd> "
	textUnanswered = "bpfctl: the command has not ended; Ctrl-C again ends the session\n"
)

func textWelcome(target string) string {
	return "connected to " + target + "; HELP lists the commands, TAB completes them, Ctrl-D ends\n"
}

func textFailed(file string, line int, why string) string {
	return fmt.Sprintf("%s:%d: %s", file, line, why)
}

func errCommands(err error) error { return fmt.Errorf("cannot read the commands: %w", err) }

func errNoBanner(said string) error {
	if line, _, _ := strings.Cut(strings.TrimSpace(said), "\n"); line != "" {
		return fmt.Errorf("no bpfd that speaks the text protocol answered, but: %q", line)
	}
	return errors.New("no bpfd answered")
}

func errCut(err error) error {
	if err == io.EOF {
		return errors.New("the connection ended before the answer did")
	}
	return err
}
