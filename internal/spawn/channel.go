package spawn

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The messages between supervisor and init: one byte says which.
const (
	msgConfig   = 'c' // to the init: a piece of the configuration; an empty one ends it
	msgMounted  = 'm' // from it: the FUSE descriptor and the procfs
	msgGo       = 'g' // to it: the file system is served
	msgListener = 'l' // from the tool's process: the filter's listener
	msgStarted  = 's' // from the init: the tool's program runs
	msgSignal   = 'S' // both: to deliver, or delivered to the whole group
	msgOpen     = 'o' // to it: a number, and the path of a file to open
	msgOpened   = 'O' // from it: that number, an errno, and the descriptor
	msgExited   = 'x' // from it: wait status
	msgStopped  = 'z' // from it: the tool that has the terminal was stopped
	msgContinue = 'C' // to it: it may go on; 1 if it has the terminal again, else 0
	msgFailed   = 'f' // from it: an Error as JSON
)

var le = binary.LittleEndian

// piece is the longest configuration sent in one packet.
const piece = 32 << 10

// channel is a sequenced-packet socket that carries messages and descriptors.
type channel struct{ f *os.File }

func (c *channel) send(kind byte, body []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(int(c.f.Fd()), append([]byte{kind}, body...), oob, nil, unix.MSG_NOSIGNAL)
}

// sendLong sends a configuration of any length.
func (c *channel) sendLong(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), piece)
		if err := c.send(msgConfig, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return c.send(msgConfig, nil)
}

func (c *channel) receive() (kind byte, body []byte, fds []int, err error) {
	b := make([]byte, piece+1)
	oob := make([]byte, unix.CmsgSpace(4*4))
	var n, on int
	for {
		n, on, _, _, err = unix.Recvmsg(int(c.f.Fd()), b, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, nil, err
	}
	if n == 0 {
		return 0, nil, nil, fmt.Errorf("the other side is gone")
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return 0, nil, nil, err
	}
	for _, m := range msgs {
		if got, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, got...)
		}
	}
	return b[0], b[1:n], fds, nil
}

// expect receives one message, of the given kind or a failure.
func (c *channel) expect(kind byte) ([]int, error) {
	got, body, fds, err := c.receive()
	switch {
	case err != nil:
		return nil, fmt.Errorf("the tool's init ended early: %w", err)
	case got == msgFailed:
		e := &Error{}
		if err := json.Unmarshal(body, e); err != nil {
			return nil, err
		}
		return nil, e
	case got != kind:
		return nil, fmt.Errorf("the init sent %q instead of %q", got, kind)
	}
	return fds, nil
}
