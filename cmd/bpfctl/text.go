package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"bpfd/internal/spawn"
	"bpfd/internal/sys"
	"bpfd/internal/text"
	"bpfd/internal/transport"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func newText() *cobra.Command {
	return &cobra.Command{
		Use:     "text [FILE]",
		Short:   textShort,
		Long:    textLong,
		Example: textExample,
		Args:    cobra.MaximumNArgs(1),
		RunE:    runText,
	}
}

// textSession is a connection over which the text protocol is spoken.
type textSession struct {
	conn        *transport.Conn
	target      string
	r           *bufio.Reader
	crlf        bool         // a terminal on the way ends lines with CR LF
	interrupted atomic.Int32 // the signal that ended the session
	editing     atomic.Bool  // Ctrl-C ends a poll, not the session
	early       atomic.Bool  // it came, perhaps before the poll was sent

	commands, unanswered atomic.Int64 // how many were typed; which of them Ctrl-C did not end
}

func runText(cmd *cobra.Command, args []string) (err error) {
	var file io.Reader
	if len(args) == 1 {
		f, err := os.Open(args[0])
		if err != nil {
			return errCommands(err)
		}
		defer f.Close()
		file = f
	}
	name, t, err := parseTarget(cmd)
	if err != nil {
		return err
	}
	conn, err := transport.Dial(t, transport.Options{Progress: sending(name)})
	if err != nil {
		return errTarget(name, err)
	}
	s := &textSession{conn: conn, target: name, r: bufio.NewReaderSize(conn.R, 64<<10)}
	defer s.onSignals()()
	out := bufio.NewWriter(cmd.OutOrStdout())
	switch {
	case file != nil:
		err = s.play(file, out, func(line int, why string) {
			io.WriteString(cmd.ErrOrStderr(), textFailed(args[0], line, why))
		})
	case term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())):
		err = s.converse(out)
	default:
		err = s.pass(os.Stdin, cmd.OutOrStdout())
	}
	return s.close(err)
}

// onSignals ends the session in order when the user wants it to end, so that
// the target cleans up. The returned function takes that back.
func (s *textSession) onSignals() func() {
	signals := make(chan os.Signal, 1)
	spawn.Notify(signals)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-signals:
				s.early.Store(true)
				io.WriteString(s.conn.W, "\n") // input ends a poll
				if sig == unix.SIGINT && s.editing.Load() && !s.again() {
					continue
				}
				if sig, ok := sig.(unix.Signal); ok {
					s.interrupted.Store(int32(sig))
				}
				sys.CloseWrite(s.conn.W)
				time.AfterFunc(closeTimeout, s.conn.Kill)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// again says whether Ctrl-C was pressed for this command before, and told to
// have come to nothing.
func (s *textSession) again() bool {
	n := s.commands.Load()
	if s.unanswered.Load() == n {
		return true
	}
	time.AfterFunc(answerTimeout, func() {
		if s.commands.Load() == n {
			s.unanswered.Store(n)
			io.WriteString(os.Stderr, textUnanswered)
		}
	})
	return false
}

// answerTimeout is how long a command may take to end after Ctrl-C.
const answerTimeout = time.Second

// close ends the session, waits until the target has cleaned up, and returns
// why it ended.
func (s *textSession) close(err error) error {
	timer := time.AfterFunc(closeTimeout, s.conn.Kill)
	defer timer.Stop()
	sys.CloseWrite(s.conn.W)
	io.Copy(io.Discard, s.r)
	s.conn.R.Close()
	ended := s.conn.Wait()
	if sig := s.interrupted.Load(); sig != 0 {
		return exitStatus(128 + sig)
	}
	if err == nil || errors.Is(err, io.EOF) {
		if err = ended; err == nil {
			return nil
		}
	}
	if said := s.conn.Said(); said != "" {
		err = errSaid(err, said)
	}
	return errTarget(s.target, err)
}

// pass connects a program that speaks the protocol with the target.
func (s *textSession) pass(in io.Reader, out io.Writer) error {
	go func() {
		io.Copy(s.conn.W, in)
		sys.CloseWrite(s.conn.W)
	}()
	_, err := io.Copy(out, s.r)
	return err
}

// maxBefore is how much may be printed before the protocol begins.
const maxBefore = 32 << 10

// banner skips what is printed before the protocol begins.
func (s *textSession) banner() error {
	defer waiting(s.target)()
	var before strings.Builder
	for before.Len() < maxBefore {
		line, err := s.r.ReadSlice('\n') // no more than the buffer holds
		if said, crlf := bytes.CutSuffix(line, []byte("\r\n")); string(line) == text.Banner || crlf && string(said)+"\n" == text.Banner {
			s.crlf = crlf
			return s.send("") // the first byte decides what bpfd speaks
		}
		before.Write(line)
		if err != nil {
			break
		}
	}
	s.conn.Kill() // what goes on to talk would not see that nobody listens
	return errNoBanner(before.String())
}

// play sends the lines of a file, each when the one before has been answered,
// and prints the protocol as it comes. It complains of commands that fail, and
// goes on: a file may count on that.
func (s *textSession) play(file io.Reader, out *bufio.Writer, complain func(line int, why string)) error {
	if err := s.banner(); err != nil {
		return err
	}
	out.WriteString(text.Banner)
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		switch firstWord(line) {
		case "":
		case "exit":
			return out.Flush()
		default:
			if err := s.send(line); err != nil {
				return err
			}
			var a answer
			err := s.reply(func(line string) {
				out.WriteString(line)
				a.add(line)
			}, true)
			if err = errors.Join(err, out.Flush()); err == nil {
				err = s.explain(&a, func(why string) { complain(n, why) })
			}
			if err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errCommands(err)
		}
	}
}

// firstWord returns the name of the command in a line, as bpfd sees it.
func firstWord(line string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(strings.TrimRight(line, "\r\n"), " "), " ")
	return name
}

func (s *textSession) send(line string) error {
	_, err := io.WriteString(s.conn.W, strings.TrimRight(line, "\r\n")+"\n")
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errCut(io.EOF)
	}
	return err
}

// reply passes on the lines of a frame, with those that frame it if raw is set.
func (s *textSession) reply(print func(line string), raw bool) error {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return errCut(err)
		}
		if s.crlf {
			line = strings.TrimSuffix(line, "\r\n") + "\n"
		}
		frame := line == text.Start || line == text.End
		if raw || !frame {
			print(line)
		}
		if line == text.End {
			return nil
		}
	}
}

// failed finds replies of commands that failed.
var failed = regexp.MustCompile(`^\w+: ret=-\d+\n$`)

// answer is what a reply ends with.
type answer struct{ last string }

func (a *answer) add(line string) {
	if line != text.Start && line != text.End {
		a.last = line
	}
}

// explain asks why a command failed, if it did, and says what the target says.
func (s *textSession) explain(a *answer, say func(why string)) error {
	if a.last != text.NotRecognized && !failed.MatchString(a.last) {
		return nil
	}
	first := true
	return s.ask("LAST_ERROR", func(line string) {
		if !first {
			say(line)
		}
		first = false
	})
}

// converse edits lines on a terminal and prints replies without their frames.
func (s *textSession) converse(out *bufio.Writer) error {
	if err := s.banner(); err != nil {
		return err
	}
	s.editing.Store(true)
	var commands []string
	if err := s.ask("HELP", func(line string) { commands = append(commands, strings.TrimRight(line, "\n")) }); err != nil {
		return err
	}
	e := newEditor(commands)
	out.WriteString(textWelcome(s.target))
	for {
		out.Flush()
		s.commands.Add(1)
		s.early.Store(false)
		line, err := e.line()
		command := firstWord(line)
		if err == io.EOF || command == "exit" {
			return nil
		}
		if err != nil {
			return err
		}
		if command == "" {
			continue
		}
		var a answer
		print := func(line string) {
			a.add(line)
			out.WriteString(line)
			if s.r.Buffered() == 0 {
				out.Flush()
			}
		}
		if err := s.ask(line, print); err != nil {
			return err
		}
		if err := s.explain(&a, func(why string) { out.WriteString(why) }); err != nil {
			return err
		}
	}
}

func (s *textSession) ask(command string, print func(line string)) error {
	if err := s.send(command); err != nil {
		return err
	}
	if s.early.Swap(false) {
		io.WriteString(s.conn.W, "\n")
	}
	return s.reply(print, false)
}
