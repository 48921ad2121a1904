package transport

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unixSocket is the path of a socket in the file system, behind which something
// starts a bpfd for each connection, systemd for example.
type unixSocket string

func parseUnix(rest string) (dialer, error) {
	if rest == "" {
		return nil, errors.New("the path of a socket is missing, as in unix:/run/bpfd.sock")
	}
	if len(rest) >= len(unix.RawSockaddrUnix{}.Path) {
		return nil, errors.New("longer than a socket's path may be")
	}
	return unixSocket(rest), nil
}

func (s unixSocket) dial(Options) (*Conn, error) {
	conn, err := connect(unix.AF_UNIX, &unix.SockaddrUnix{Name: string(s)})
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the socket: %w", err)
	}
	return conn, nil
}

// vsock is a port of a virtual machine, see vsock(7).
type vsock struct{ cid, port uint32 }

func parseVsock(rest string) (dialer, error) {
	c, p, ok := strings.Cut(rest, ":")
	cid, errCID := strconv.ParseUint(c, 10, 32)
	port, errPort := strconv.ParseUint(p, 10, 32)
	if !ok || errCID != nil || errPort != nil {
		return nil, errors.New("want two numbers, vsock:CID:PORT")
	}
	return vsock{uint32(cid), uint32(port)}, nil
}

func (v vsock) dial(Options) (*Conn, error) {
	conn, err := connect(unix.AF_VSOCK, &unix.SockaddrVM{CID: v.cid, Port: v.port})
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil, errors.New("this machine's kernel has no vsock (CONFIG_VSOCKETS, module vsock)")
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ETIMEDOUT):
		return nil, fmt.Errorf("no virtual machine with the context id %d answers: %w", v.cid, err)
	case err != nil:
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	return conn, nil
}

// connect makes a stream socket and connects it.
func connect(family int, addr unix.Sockaddr) (*Conn, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for err = unix.Connect(fd, addr); err == unix.EINTR; err = unix.Connect(fd, addr) {
	}
	if err != nil && err != unix.EISCONN {
		unix.Close(fd)
		return nil, err
	}
	return socketConn(fd)
}

// socketConn makes a connection of a connected socket, which is its from now on.
func socketConn(fd int) (*Conn, error) {
	w, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	// A third one, which is good for as long as somebody may call Kill.
	k, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		unix.Close(w)
		return nil, err
	}
	kill := os.NewFile(uintptr(k), "socket")
	return &Conn{
		R: os.NewFile(uintptr(fd), "socket"), W: os.NewFile(uintptr(w), "socket"),
		Wait: kill.Close,
		Kill: func() {
			if c, err := kill.SyscallConn(); err == nil {
				c.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
			}
		},
	}, nil
}
