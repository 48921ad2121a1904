package guest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// SerialPort returns the device of a virtio serial port. udev would have made a
// link with its name.
func SerialPort(name string) (string, error) {
	ports, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return "", err
	}
	for _, p := range ports {
		if b, err := os.ReadFile(p); err == nil && strings.TrimSpace(string(b)) == name {
			return "/dev/" + filepath.Base(filepath.Dir(p)), nil
		}
	}
	return "", fmt.Errorf("there is no virtio serial port named %s", name)
}

// ServeSerial starts a bpfd for each host that speaks on a serial port, where
// nothing tells one host from the next: bytes of the last one that nobody read
// are still there when another begins. So the greeting begins a session
// wherever it appears, and what precedes the first one is dropped.
func ServeSerial(device, path string) error {
	// Not blocking, so that a write to a host that has gone can be given up.
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	port := os.NewFile(uintptr(fd), device)
	var d *serialDaemon
	defer func() { d.end() }()
	var g greetings
	buf := make([]byte, 64<<10)
	for {
		n, err := port.Read(buf)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 { // no host is there
			d.end()
			d, g = nil, greetings{}
			if err := awaitHost(fd); err != nil {
				return err
			}
			continue
		}
		for i, part := range g.split(buf[:n]) {
			if i > 0 {
				d.end()
				if d, err = startSerial(path, port); err != nil {
					return err
				}
			}
			d.write(part)
		}
	}
}

// greetings finds where sessions begin in a stream.
type greetings struct {
	last []byte // the end of what went by, in which a greeting may have begun
}

// split cuts off what belongs to the session so far; each further part is a
// session that begins with its greeting. Nothing is held back: what turns out
// to be the beginning of a greeting has gone to the session before, too, which
// is over then.
func (g *greetings) split(b []byte) [][]byte {
	parts := [][]byte{b}
	g.last = append(g.last, b...)
	for {
		i := bytes.Index(g.last, []byte(wire.Magic))
		if i < 0 {
			break
		}
		g.last = g.last[i+len(wire.Magic):]
		current := parts[len(parts)-1]
		parts[len(parts)-1] = current[:max(0, len(current)-len(g.last)-len(wire.Magic))]
		parts = append(parts, append([]byte(wire.Magic), g.last...))
	}
	g.last = bytes.Clone(g.last[max(0, len(g.last)-len(wire.Magic)+1):])
	return parts
}

// pollInterval is how soon a new host is noticed. A port without a host is
// always readable, so that there is nothing to wait for.
const pollInterval = 20 * time.Millisecond

func awaitHost(fd int) error {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 0); err != nil && err != unix.EINTR {
			return err
		}
		if p[0].Revents&unix.POLLHUP == 0 {
			return nil
		}
		time.Sleep(pollInterval)
	}
}

// serialDaemon is the bpfd of one session on a serial port. A nil one takes
// and drops everything.
type serialDaemon struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	port   *os.File
	copied chan struct{} // closed when all of its output is on the port
}

func startSerial(path string, port *os.File) (*serialDaemon, error) {
	cmd := exec.Command(path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := port.SetWriteDeadline(time.Time{}); err != nil {
		return nil, err
	}
	d := &serialDaemon{cmd, stdin, port, make(chan struct{})}
	go func() {
		defer close(d.copied)
		io.Copy(port, stdout)
		stdout.Close() // so that the daemon ends if the port is gone
	}()
	return d, cmd.Start()
}

// write hands bytes to the daemon. If it has ended, the host learns it by
// itself, as no reply comes.
func (d *serialDaemon) write(b []byte) {
	if d != nil && len(b) > 0 {
		d.stdin.Write(b)
	}
}

// end ends the daemon's input, gives up its output, and waits until it has
// cleaned up.
func (d *serialDaemon) end() {
	if d == nil {
		return
	}
	d.stdin.Close()
	d.port.SetWriteDeadline(time.Now())
	<-d.copied
	d.cmd.Wait()
}
