package mtls

import (
	"crypto/tls"
	"io"
	"net"
	"time"
)

// KeepAlive finds a peer that is gone within half a minute.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Bridge copies between a connection and a local socket until the connection
// ends, and closes both. The end of input passes through in each direction. The
// peer has linger to close its end after local has closed its own, for ever if
// that is 0. It returns why the connection has ended, nil if both ends closed it.
func Bridge(c *tls.Conn, local *net.UnixConn, linger time.Duration) error {
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, local)
		if err == nil {
			err = c.CloseWrite()
		}
		if linger > 0 {
			c.SetReadDeadline(time.Now().Add(linger))
		}
		up <- err
	}()
	from := &source{Reader: c}
	io.Copy(local, from)
	local.CloseWrite()
	if from.err == nil { // local takes no more, but may have more to say
		io.Copy(io.Discard, from)
	}
	err := from.err
	if err != io.EOF { // cut: nothing more will be taken
		c.NetConn().Close()
		local.CloseRead()
	}
	if e := <-up; err == io.EOF {
		err = e
	}
	c.Close()
	local.Close()
	return err
}

// source remembers how it ended.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
