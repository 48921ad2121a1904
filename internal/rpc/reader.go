package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// maxBanner is how much text a target may print before the protocol starts: a
// login message, for one.
const maxBanner = 64 << 10

// reader splits a descriptor's bytes into frames. One goroutine at a time uses it.
type reader struct {
	file  *os.File
	fd    int
	src   *sys.Reader
	buf   []byte
	r, w  int  // buf[r:w] was read and not used yet
	owned bool // the last frame's body is memory of its own
}

func newReader(f *os.File) *reader {
	fd := int(f.Fd())
	return &reader{file: f, fd: fd, src: sys.NewReader(fd), buf: make([]byte, 256<<10)}
}

func (r *reader) buffered() bool {
	if r.w-r.r < wire.HeaderSize {
		return false
	}
	h, err := wire.ParseHeader(r.buf[r.r:r.w])
	return err != nil || r.w-r.r >= wire.HeaderSize+int(h.Len)
}

// fill reads once; at least one byte of buf must be free.
func (r *reader) fill() error {
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	return err
}

// need makes n bytes available at buf[r:], n at most len(buf).
func (r *reader) need(n int) error {
	if r.w-r.r >= n {
		return nil
	}
	if r.r > 0 && len(r.buf)-r.r < n || r.r == r.w {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	for r.w-r.r < n {
		if err := r.fill(); err != nil {
			if err == io.EOF && r.w > r.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// frame returns the next frame. The body is valid until the next call.
func (r *reader) frame() (wire.Header, []byte, error) {
	if err := r.need(wire.HeaderSize); err != nil {
		return wire.Header{}, nil, err
	}
	h, err := wire.ParseHeader(r.buf[r.r:r.w])
	if err != nil {
		return h, nil, err
	}
	n := int(h.Len)
	r.r += wire.HeaderSize
	if n <= len(r.buf)-wire.HeaderSize {
		r.owned = false
		err := r.need(n)
		if err != nil {
			return h, nil, err
		}
		body := r.buf[r.r : r.r+n]
		r.r += n
		return h, body, nil
	}
	body, err := r.long(n)
	return h, body, err
}

// long reads a body which does not fit into the buffer.
func (r *reader) long(n int) ([]byte, error) {
	r.owned = true
	body := make([]byte, n)
	have := copy(body, r.buf[r.r:r.w])
	r.r += have
	_, err := io.ReadFull(r.src, body[have:])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}

// keep returns the last frame's body as memory that stays valid.
func (r *reader) keep(body []byte) []byte {
	if r.owned {
		return body
	}
	return append([]byte(nil), body...)
}

// skipToMagic drops what the target prints before the protocol starts.
func (r *reader) skipToMagic() error {
	var banner []byte
	for {
		banner = append(banner, r.buf[r.r:r.w]...)
		r.r, r.w = 0, 0
		if i := bytes.Index(banner, []byte(wire.Magic)); i >= 0 {
			r.w = copy(r.buf, banner[i+len(wire.Magic):])
			return nil
		}
		if len(banner) > maxBanner/2 {
			return fmt.Errorf("the target does not speak bpfd's protocol, it says: %s", firstLine(banner))
		}
		if err := r.fill(); err != nil {
			return noWelcome(banner, err)
		}
	}
}

func noWelcome(banner []byte, err error) error {
	// What bpfd says first, to clients of the text protocol.
	banner = bytes.TrimPrefix(banner, []byte("STARTED_BPFD\n"))
	if len(banner) > 0 {
		return fmt.Errorf("no bpfd answered, but: %s", firstLine(banner))
	}
	if err == io.EOF || errors.Is(err, unix.ECONNRESET) {
		return ErrSilent
	}
	return err
}

// ErrSilent says that the other end closed the connection and had said nothing.
var ErrSilent = errors.New("no bpfd answered: the target's side ended without a word")

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return fmt.Sprintf("%q", line)
}
