// Package text is bpfd's text protocol, that of 2017: one command per line,
// answered by lines between two markers, binary values in base64. It is
// described in doc/text-protocol.md, whose tables are made from this package's
// table of commands.
package text

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"bpfd/internal/symbols"
	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// What frames a session and its replies.
const (
	Banner = "STARTED_BPFD\n"
	Start  = "START_BPFD_OUTPUT\n"
	End    = "END_BPFD_OUTPUT\n"
)

// NotRecognized answers what is no command, or lacks an argument, or has
// something else where a number should be; OpenFailed stands before it if a file
// cannot be read.
const (
	NotRecognized = "Command not recognized\n"
	OpenFailed    = "Open failed, ignoring\n"
)

// Options of a session.
type Options struct {
	Software string // name and version for users to read
}

// session is one client and all that it made.
type session struct {
	opts     Options
	in       *input
	out      *output
	table    []command
	commands map[string]*command
	args     args

	mu      sync.Mutex // held while a command runs, but not while it waits or writes
	objects objects
	probes  probes
	last    failure
	symbols symbols.Table
	copied  []byte // records of a ring
}

// Serve speaks the text protocol over descriptors in and out until in ends, and
// then releases all that the session made. first holds what was read from in
// already. The caller has printed the Banner.
func Serve(in, out int, first []byte, opts Options) error {
	input, err := newInput(in, first)
	if err != nil {
		return err
	}
	defer input.close()
	// Before Linux 5.11 maps and programs count as locked memory.
	unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	s := &session{opts: opts, in: input, table: table, commands: byName()}
	s.out = &output{fd: out, mu: &s.mu}
	s.probes.init()
	defer sys.OnSignal(s.endByRequest)()
	err = s.loop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
	return err
}

// release detaches and closes everything; mu is held.
func (s *session) release() {
	s.probes.detachAll(s)
	s.objects.closeAll()
}

// endByRequest releases what the session made before a signal ends the process:
// definitions in tracefs outlive it.
func (s *session) endByRequest() {
	s.mu.Lock() // for good: nothing may be made any more
	s.release()
	Restore()
}

// loop answers lines until the input ends.
func (s *session) loop() error {
	for {
		line, err := s.in.line()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errLong):
			s.mu.Lock()
			s.out.line(Start)
			s.out.line(fmt.Sprintf("Line too long, at most %d bytes, ignoring\n", MaxLine))
			s.unrecognized("a line", errLong)
			err = s.finish()
			s.mu.Unlock()
		case err != nil:
			return err
		default:
			var exit bool
			exit, err = s.answer(line)
			if exit {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// answer runs the command of a line and says whether it ends the session.
func (s *session) answer(line []byte) (exit bool, err error) {
	name, rest := word(line)
	if len(name) == 0 {
		return false, nil
	}
	if string(name) == "exit" {
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.line(Start)
	if c := s.commands[string(name)]; c == nil {
		s.unrecognized(strconv.QuoteToASCII(string(name[:min(len(name), 40)])), errNoCommand)
	} else if run := c.parse(&s.args, line, rest); run == nil {
		s.unrecognized(c.name, errArguments)
	} else {
		s.last.command = c.name
		run(s, &s.args)
	}
	return false, s.finish()
}

// Why a line is not recognized.
var (
	errNoCommand = errors.New("no such command; HELP lists the commands")
	errArguments = errors.New("an argument is missing or no number; HELP lists the commands")
)

// unrecognized answers what is no command, and keeps the cause for LAST_ERROR.
func (s *session) unrecognized(what string, err error) {
	s.last.command = what
	s.last.keep(err)
	s.out.line(NotRecognized)
}

// finish ends a reply and sends it.
func (s *session) finish() error {
	s.out.line(End)
	return s.out.flush()
}

// ret is the line that most commands answer.
func (s *session) ret(label string, v int64) {
	s.out.b = append(append(append(s.out.b, label...), ": ret="...), strconv.FormatInt(v, 10)...)
	s.out.b = append(s.out.b, '\n')
}

// result answers 0, or -1 and keeps the error for LAST_ERROR.
func (s *session) result(label string, err error) {
	if err != nil {
		s.fail(label, err)
		return
	}
	s.ret(label, 0)
}

// fail answers -1 and keeps the error for LAST_ERROR.
func (s *session) fail(label string, err error) {
	s.last.keep(err)
	s.ret(label, -1)
}

// output gathers what is to be written, so that a reply takes one write(2).
type output struct {
	fd  int
	mu  *sync.Mutex // the session's, which is not held while somebody has to read
	b   []byte
	err error
}

// flushAt is how many bytes are gathered at most.
const flushAt = 128 << 10

func (o *output) line(s string) { o.b = append(o.b, s...) }

// room writes what has been gathered if that is much.
func (o *output) room() {
	if len(o.b) >= flushAt {
		o.flush()
	}
}

// flush writes what has been gathered. A signal may end the session meanwhile.
func (o *output) flush() error {
	if o.err == nil {
		o.mu.Unlock()
		o.err = sys.WriteFull(o.fd, o.b)
		o.mu.Lock()
	}
	o.b = o.b[:0]
	if cap(o.b) > 4*flushAt {
		o.b = nil
	}
	return o.err
}
