package text

import (
	"bytes"
	"errors"
	"io"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// MaxLine is how many bytes a line may have, its end not counted.
const MaxLine = 64 << 20

var errLong = errors.New("the line is too long")

const (
	// readSize is how much is read at once.
	readSize = 1 << 20
	// keepSize is how much of the buffer's memory is kept between lines.
	keepSize = 2 * readSize
	// endOfTransmission is what Ctrl-D sends over a terminal that is not canonical.
	endOfTransmission = 4
)

// input splits what is read into lines. Its buffer is a mapping with room for
// the longest line, of which only what is used takes memory.
type input struct {
	fd       int
	src      io.Reader
	mem      []byte
	r, w     int // what is between them has been read and not been used
	seen     int // no line ends before
	high     int // no memory is used behind
	skipping bool
	eof      bool
	terminal bool
}

func newInput(fd int, first []byte) (*input, error) {
	mem, err := unix.Mmap(-1, 0, MaxLine+readSize+len(first), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	in := &input{fd: fd, src: sys.NewReader(fd), mem: mem, terminal: isTerminal(fd)}
	in.w = copy(mem, first)
	return in, nil
}

func (in *input) close() { unix.Munmap(in.mem) }

// line returns the next line without its end; it is valid until the next call.
// A last line that is not ended counts. errLong tells of a line that was
// dropped, io.EOF of the end.
func (in *input) line() ([]byte, error) {
	for {
		if in.terminal && in.r < in.w && in.mem[in.r] == endOfTransmission {
			return nil, io.EOF
		}
		i := bytes.IndexByte(in.mem[in.seen:in.w], '\n')
		if i >= 0 {
			line := in.mem[in.r : in.seen+i]
			in.r = in.seen + i + 1
			in.seen = in.r
			if in.skipping || len(line) > MaxLine {
				in.skipping = false
				return nil, errLong
			}
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if in.w-in.r > MaxLine {
			in.skipping = true
		}
		if in.skipping {
			in.r = in.w
		}
		in.seen = in.w
		if in.eof {
			return in.rest()
		}
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
}

// rest returns what the input ends with.
func (in *input) rest() ([]byte, error) {
	if in.skipping {
		in.skipping = false
		return nil, errLong
	}
	if in.r == in.w {
		return nil, io.EOF
	}
	line := in.mem[in.r:in.w]
	in.r = in.w
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// fill reads more, or notes the end.
func (in *input) fill() error {
	if in.r == in.w || in.r > readSize {
		in.w = copy(in.mem, in.mem[in.r:in.w])
		in.seen -= in.r
		in.r = 0
		in.shrink()
	}
	n, err := in.src.Read(in.mem[in.w:min(in.w+readSize, len(in.mem))])
	// A terminal whose other end is gone fails with EIO, a socket with ECONNRESET.
	if err == io.EOF || err == unix.EIO || err == unix.ECONNRESET {
		in.eof = true
		return nil
	}
	in.w += n
	in.high = max(in.high, in.w)
	return err
}

// shrink gives the memory of a long line back.
func (in *input) shrink() {
	if in.high > keepSize && in.w < readSize {
		unix.Madvise(in.mem[keepSize:], unix.MADV_DONTNEED)
		in.high = in.w
	}
}

// pending says whether something was read that has not been used.
func (in *input) pending() bool { return in.r < in.w }
