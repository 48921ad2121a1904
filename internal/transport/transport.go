// Package transport turns a target's URL into a connection to a bpfd there,
// and nothing else.
package transport

import (
	"fmt"
	"os"
	"strings"

	"bpfd/internal/sys"
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

	stderr *tail
}

// Said returns the last line that the other side wrote to its standard error.
func (c *Conn) Said() string {
	if c.stderr == nil {
		return ""
	}
	return c.stderr.last()
}

// Options of a connection.
type Options struct {
	// Progress is told how far the sending of bpfd to a target is.
	Progress func(Progress)
}

// Progress of sending bpfd to a target.
type Progress struct {
	Arch, Dir   string
	Done, Total int // bytes
}

func (o Options) progress(p Progress) {
	if o.Progress != nil {
		o.Progress(p)
	}
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
	{"ssh", "ssh://[user@]host[:port]", "a machine that ssh reaches", parseSSH},
	{"adb", "adb:[SERIAL]", "a device that adb reaches", parseADB},
	{"tcp", "tcp://HOST:PORT", "a bpfd-tls, with certificates of bpfctl tls", parseTCP},
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

// Push brings bpfd to a target that ssh or adb reaches, unless it is there, and
// returns its path.
func Push(t Target, o Options) (string, error) {
	s, err := script(t, actPush, o)
	if err != nil {
		return "", err
	}
	return s.path, nil
}

// Pushed returns the paths of all bpfd that were pushed to a target.
func Pushed(t Target) ([]string, error) {
	s, err := script(t, actStatus, Options{})
	if err != nil {
		return nil, err
	}
	return s.files, nil
}

// Remove removes all bpfd that were pushed to a target and returns their paths.
func Remove(t Target) ([]string, error) {
	s, err := script(t, actRemove, Options{})
	if err != nil {
		return nil, err
	}
	return s.files, nil
}

// script runs a script on the target to its end.
func script(t Target, action string, o Options) (*session, error) {
	r, ok := t.dialer.(*remote)
	if !ok {
		return nil, fmt.Errorf("bpfd is pushed to targets of ssh and adb only; what is behind %s: has its own", t.Scheme)
	}
	s, err := r.run(action, o)
	if err != nil {
		return nil, err
	}
	sys.CloseWrite(s.conn.W)
	err = s.conn.Wait()
	s.conn.R.Close()
	return s, err
}
