// Package transport turns a target's URL into a connection to a bpfd there,
// and nothing else.
package transport

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Target is a parsed target.
type Target struct {
	Raw    string
	Scheme string
	Rest   string // what follows the scheme
}

// Conn is a connection to a bpfd: descriptors that are read and written with
// blocking system calls.
type Conn struct {
	R, W *os.File
	// Wait returns why the other side has ended. It waits until it has.
	Wait func() error
	// Kill ends the other side.
	Kill func()
}

// Options of a connection.
type Options struct {
	Stderr io.Writer // gets what the other side writes to its standard error
}

// schemes are the ways to reach a target.
var schemes = map[string]func(Target, Options) (*Conn, error){
	"shell": dialShell,
}

// Parse reads a target.
func Parse(s string) (Target, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || schemes[scheme] == nil {
		return Target{}, fmt.Errorf("%q is no target; targets are shell: for this machine, and shell:COMMAND for a command whose standard input and output are a bpfd", s)
	}
	return Target{Raw: s, Scheme: scheme, Rest: rest}, nil
}

// Dial connects to a target.
func Dial(t Target, o Options) (*Conn, error) { return schemes[t.Scheme](t, o) }
