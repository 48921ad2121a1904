package transport

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"regexp"
	"strings"

	"bpfd/internal/daemon"
	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// remote is a target on which a command line can be run, and to which bpfd is
// therefore brought when it is not there.
type remote struct {
	su   string // ways to become root: "none", or words of "sudo" and "su"
	path string // where to put bpfd, or a bpfd; empty for the usual places
	via  via
}

// via runs a command line on the target.
type via interface {
	command(line string) *exec.Cmd
	// group says whether the command needs a process group of its own to
	// outlive the terminal's Ctrl-C.
	group() bool
	// explain says more about the end of a command that has not come to run.
	explain(err error) error
}

// safePath is what a path in a script may be made of: nothing that a shell expands.
var safePath = regexp.MustCompile(`^/[\w./@:+,=-]*$`)

// parseQuery reads what follows the question mark of a URL; auto are the ways
// to become root unless it says otherwise.
func parseQuery(query, auto string, v via) (*remote, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	r := &remote{su: auto, via: v}
	for key := range values {
		val := values.Get(key)
		switch {
		case key == "su" && val == "auto":
		case key == "su" && (val == "none" || val == "sudo" || val == "su"):
			r.su = val
		case key == "su":
			return nil, fmt.Errorf("su=%q: want auto, none, sudo or su", val)
		case key == "path" && safePath.MatchString(val):
			r.path = val
		case key == "path":
			return nil, fmt.Errorf("path=%q: want an absolute path without special characters", val)
		default:
			return nil, fmt.Errorf("unknown option %q; there are su and path", key)
		}
	}
	return r, nil
}

func (r *remote) dial(o Options) (*Conn, error) {
	s, err := r.run(actRun, o)
	if err != nil {
		return nil, err
	}
	return s.conn, nil
}

// session is a script that runs on the target.
type session struct {
	conn  *Conn
	noise string   // the last that was printed before the script
	path  string   // of bpfd
	files []string // that were found or removed
}

// run starts the script on the target and serves it until it says that it is done.
func (r *remote) run(action string, o Options) (*session, error) {
	conn, err := start(r.via.command(command(action, r.su, r.path)), r.via.group())
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn}
	if err = s.serve(o); err == nil {
		return s, nil
	}
	if !errors.Is(err, errEnded) {
		conn.Kill()
	}
	sys.CloseWrite(conn.W)
	waited := conn.Wait()
	conn.R.Close()
	if !errors.Is(err, errEnded) {
		return nil, err
	}
	return nil, r.via.explain(s.ended(waited))
}

// errEnded is the end of the output before the script was done.
var errEnded = errors.New("ended")

// serve answers the script until it is done.
func (s *session) serve(o Options) error {
	for total := 0; total < maxNoise; {
		line, err := readLine(int(s.conn.R.Fd()))
		if err != nil {
			return err
		}
		total += len(line) + 1
		i := strings.Index(line, mark)
		if i < 0 {
			if text := strings.TrimSpace(line); text != "" {
				s.noise = text
			}
			continue
		}
		word, rest, _ := strings.Cut(line[i+len(mark):], " ")
		switch word {
		case "need":
			if err := s.send(rest, o); err != nil {
				return err
			}
		case "file", "gone":
			s.files = append(s.files, rest)
		case "have":
			s.path = rest
			return nil
		case "fail":
			return failure(rest)
		default:
			return fmt.Errorf("the target says %q", line)
		}
	}
	return errors.New("the target's login shell prints too much before it runs a command")
}

// maxNoise is how much a login shell may print before it runs a command.
const maxNoise = 64 << 10

// readLine reads a line and nothing behind it.
func readLine(fd int) (string, error) {
	var line []byte
	var b [1]byte
	for len(line) < maxNoise {
		n, err := unix.Read(fd, b[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", err
		case n == 0:
			return "", errEnded
		case b[0] == '\n':
			return string(line), nil
		default:
			line = append(line, b[0])
		}
	}
	return "", errors.New("the target prints a line without an end")
}

// failures are what a script, or bpfd-tls, may say after fail.
var failures = map[string]string{
	"arch":   "there is no bpfd for the target's machine type, %s",
	"root":   "user %s on the target is not root, and neither sudo nor su is there: log in as root, or add ?su=none to go without",
	"become": "cannot become root on the target %s; permit it without a password, log in as root, or add ?su=none to go without",
	"busy":   "the target serves as many connections as it may, %s",
	"start":  "the target cannot start bpfd: %s",
	"place":  "found no directory on the target for bpfd: %sname one by adding ?path=DIRECTORY",
}

func failure(said string) error {
	kind, text, _ := strings.Cut(said, " ")
	if format, ok := failures[kind]; ok {
		return fmt.Errorf(format, text)
	}
	return fmt.Errorf("the target says %q", said)
}

// ended says why the script ended before it was done.
func (s *session) ended(err error) error {
	said := s.conn.Said()
	if said != "" && s.noise != "" {
		said += "; "
	}
	said += s.noise
	switch {
	case said != "":
		return errors.New(said)
	case err != nil:
		return fmt.Errorf("the command that leads to the target has ended: %w", err)
	}
	return errors.New("the command that leads to the target has ended without a word")
}

// send sends the bpfd that the script needs.
func (s *session) send(need string, o Options) error {
	var arch, packing, dir string
	if n, _ := fmt.Sscan(need, &arch, &packing, &dir); n != 3 {
		return fmt.Errorf("the target needs %q", need)
	}
	program, err := daemon.Find(arch)
	if err != nil {
		return err
	}
	content, err := program.Unpack()
	if err != nil {
		return err
	}
	payload := content
	if packing == "gzip" {
		payload = program.Pack()
	}
	// A small pipe, so that the progress is the link's.
	fd := int(s.conn.W.Fd())
	unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, chunk)
	defer unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
	err = sys.WriteFull(fd, fmt.Appendf(nil, "%d %d %x\n", len(payload), len(content), sha256.Sum256(content)))
	p := Progress{Arch: arch, Dir: dir, Total: len(payload)}
	for err == nil && p.Done < p.Total {
		n := min(chunk, p.Total-p.Done)
		if err = sys.WriteFull(fd, payload[p.Done:p.Done+n]); err == nil {
			p.Done += n
			o.progress(p)
		}
	}
	if errors.Is(err, unix.EPIPE) {
		return errEnded
	}
	return err
}

const chunk = 32 << 10
