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
	URL    string
	Scheme string
	dialer dialer
}

// A dialer is what a scheme makes of the rest of a URL.
type dialer interface {
	dial(Options) (*Conn, error)
}

// Conn is a connection to a bpfd: descriptors that are read and written with
// blocking system calls. sys.CloseWrite of W tells the target that there is no
// more to come.
type Conn struct {
	R, W *os.File
	// Wait returns why the other side has ended, after it has closed its output.
	Wait func() error
	// Kill ends the other side.
	Kill func()
}

// Options of a connection.
type Options struct {
	Stderr io.Writer // gets what the other side writes to its standard error
}

// Scheme is a way to reach a target.
type Scheme struct {
	Name  string
	Form  string // the form of a URL
	Help  string // what it leads to
	parse func(rest string) (dialer, error)
}

// Schemes are the ways to reach a target, in the order of the help.
var Schemes = []Scheme{
	{"shell", "shell:", "a bpfd on this machine", parseShell},
	{"shell", "shell:COMMAND", "a command whose standard input and output are a bpfd", parseShell},
	{"unix", "unix:PATH", "a socket here, behind which a bpfd starts for each connection", parseUnix},
	{"vsock", "vsock:CID:PORT", "the same in a virtual machine of this host", parseVsock},
}

// Parse reads a target's URL.
func Parse(url string) (Target, error) {
	name, rest, ok := strings.Cut(url, ":")
	for _, s := range Schemes {
		if !ok || s.Name != name {
			continue
		}
		d, err := s.parse(rest)
		if err != nil {
			return Target{}, fmt.Errorf("%s: %w", url, err)
		}
		return Target{URL: url, Scheme: name, dialer: d}, nil
	}
	return Target{}, fmt.Errorf("%q is no target; targets are %s", url, forms())
}

func forms() string {
	var all []string
	for _, s := range Schemes {
		all = append(all, s.Form)
	}
	return strings.Join(all, ", ")
}

// Dial connects to a target.
func Dial(t Target, o Options) (*Conn, error) { return t.dialer.dial(o) }
