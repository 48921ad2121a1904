package sys

import (
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// spinFor is how long a Reader looks for data before it sleeps. To wake a
	// processor which idles takes 10 µs and more, several times as long as the
	// calls that the two ends make for each other.
	spinFor = 40 * time.Microsecond
	// quick is how soon data must have come for the next read to spin.
	quick = 120 * time.Microsecond

	rwfNowait = 8 // RWF_NOWAIT of preadv2(2)
)

// Reader reads a descriptor with blocking calls on the caller's thread. While
// data comes in quick succession it spins a little before it sleeps.
type Reader struct {
	fd   int
	spin bool // the last data came soon
	able bool // spinning makes sense, and the descriptor allows it
}

// NewReader returns a Reader of fd, which stays the caller's.
func NewReader(fd int) *Reader { return &Reader{fd: fd, able: runtime.NumCPU() > 1} }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	start := time.Now()
	if r.spin {
		for time.Since(start) < spinFor {
			n, errno := readNow(r.fd, p)
			if errno == unix.EAGAIN || errno == unix.EINTR {
				continue
			}
			if errno == unix.ENOTCONN {
				return 0, io.EOF
			}
			if errno != 0 { // pipes can since Linux 5.16, terminals cannot
				r.able, r.spin = false, false
				break
			}
			return count(n)
		}
	}
	n, err := r.block(p)
	r.spin = r.able && err == nil && time.Since(start) < quick
	return n, err
}

func (r *Reader) block(p []byte) (int, error) {
	for {
		n, err := unix.Read(r.fd, p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, -1)
			continue
		case err == unix.ENOTCONN:
			// What vsock says when both sides have shut the connection down
			// (vsock_connectible_recvmsg, net/vmw_vsock/af_vsock.c).
			return 0, io.EOF
		case err != nil:
			return 0, err
		}
		return count(n)
	}
}

func count(n int) (int, error) {
	if n == 0 {
		return 0, io.EOF
	}
	arrivals.Add(1)
	return n, nil
}

// WriteFull writes all of b with blocking calls.
func WriteFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			continue
		case err != nil:
			return err
		}
		b = b[n:]
	}
	return nil
}

// CloseWrite closes f and lets the other side see the end of its input, also if
// f is one of several descriptors of a socket.
func CloseWrite(f *os.File) error {
	unix.Shutdown(int(f.Fd()), unix.SHUT_WR) // ENOTSOCK for a pipe, whose end close says
	return f.Close()
}
