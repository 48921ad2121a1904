package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bpfd/internal/mtls"

	"golang.org/x/sys/unix"
)

// tcpAddress is a host and port at which a bpfd-tls listens.
type tcpAddress struct{ host, port string }

func parseTCP(rest string) (dialer, error) {
	address, ok := strings.CutPrefix(rest, "//")
	host, port, err := net.SplitHostPort(address)
	if !ok || err != nil || host == "" || port == "" {
		return nil, errors.New("want tcp://HOST:PORT")
	}
	return tcpAddress{host, port}, checkPort(port)
}

// checkPort refuses what cannot be a port. Names of services can.
func checkPort(port string) error {
	if n, err := strconv.ParseUint(port, 10, 64); err == nil && (n < 1 || n > 65535) || errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("port %s: ports are from 1 to 65535", port)
	}
	return nil
}

// TLSDir returns the directory of this host's certificate: BPFD_TLS, or bpfd/tls
// in the user's directory for configuration.
func TLSDir() (string, error) {
	if dir := os.Getenv("BPFD_TLS"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "bpfd", "tls"), err
}

// handshakeTimeout is how long a target may take to connect and to agree.
const handshakeTimeout = 20 * time.Second

func (a tcpAddress) dial(Options) (*Conn, error) {
	dir, err := TLSDir()
	if err != nil {
		return nil, err
	}
	credentials, err := mtls.Load(dir, mtls.Host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: mtls.KeepAlive}
	raw, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.host, a.port))
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	c, err := credentials.Connect(ctx, raw, a.host)
	if err == nil {
		end, _ := ctx.Deadline()
		c.SetDeadline(end)
		err = welcome(c)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	conn, err := bridged(c)
	if err != nil {
		raw.Close()
	}
	return conn, err
}

// welcome waits for the word of bpfd-tls: only then has it accepted our
// certificate.
func welcome(c *tls.Conn) error {
	defer c.SetDeadline(time.Time{})
	var line []byte
	for b := make([]byte, 1); len(line) < maxNoise; line = append(line, b[0]) {
		if _, err := c.Read(b); err != nil {
			return mtls.Explain(err)
		}
		if b[0] == '\n' {
			break
		}
	}
	said, ok := strings.CutPrefix(string(line), mark)
	if !ok {
		return fmt.Errorf("the target says %q", line)
	}
	if said == "have" {
		return nil
	}
	if text, ok := strings.CutPrefix(said, "fail "); ok {
		return failure(text)
	}
	return fmt.Errorf("the target says %q", said)
}

// bridged gives a TLS connection descriptors. It ends with them.
func bridged(c *tls.Conn) (*Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "tls")
	local, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		unix.Close(pair[0])
		return nil, err
	}
	conn, err := socketConn(pair[0])
	if err != nil {
		local.Close()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mtls.Bridge(c, local.(*net.UnixConn), 0) }()
	closeKill := conn.Wait
	shut := conn.Kill
	conn.Kill = func() {
		c.NetConn().Close()
		shut()
	}
	conn.Wait = func() error {
		err, ok := <-done
		if ok {
			close(done)
			closeKill()
		}
		return err
	}
	return conn, nil
}
