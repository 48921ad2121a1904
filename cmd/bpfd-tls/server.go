package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"time"

	"bpfd/internal/mtls"

	"golang.org/x/sys/unix"
)

// server runs a bpfd for each connection that is accepted.
type server struct {
	config  *tls.Config
	bpfd    string        // the program to run, or
	socket  string        // where to connect to one
	timeout time.Duration // of a handshake
	slots   chan struct{} // holds one for each bpfd
	pending chan struct{} // holds one for each handshake
}

// pending is how many handshakes may go on at a time. It is apart from the
// number of connections: who has no certificate cannot keep out who has one
// and is connected.
const pending = 32

const (
	grace  = 10 * time.Second // how long a bpfd may take to clean up
	linger = time.Minute      // how long a peer may stay when there is no bpfd any more
)

func (s *server) serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
			log.Printf("accept: %v", err)
			time.Sleep(time.Second)
			continue
		}
		if errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return err
		}
		select {
		case s.pending <- struct{}{}:
			go s.handle(c.(*net.TCPConn))
		default:
			log.Printf("%s: refused: %d handshakes are going on already", c.RemoteAddr(), cap(s.pending))
			c.Close()
		}
	}
}

// handle serves one connection. Nothing that comes before the handshake has
// ended goes anywhere but into crypto/tls.
func (s *server) handle(raw *net.TCPConn) {
	defer raw.Close()
	raw.SetKeepAliveConfig(mtls.KeepAlive)
	peer := raw.RemoteAddr().String()
	c := tls.Server(raw, s.config)
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	err := c.HandshakeContext(ctx)
	cancel()
	<-s.pending
	if err != nil {
		log.Printf("%s: %v", peer, mtls.Explain(err))
		return
	}
	peer += " (" + c.ConnectionState().PeerCertificates[0].Subject.CommonName + ")"
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		log.Printf("%s: refused: %d connections are served already", peer, cap(s.slots))
		s.refuse(c, fmt.Sprintf("busy %d", cap(s.slots)))
		return
	}
	log.Printf("%s: connected", peer)
	if err := s.run(c); err != nil {
		log.Printf("%s: ended: %v", peer, err)
		return
	}
	log.Printf("%s: ended", peer)
}

// refuse tells an authenticated peer why it is not served.
func (s *server) refuse(c *tls.Conn, why string) {
	c.SetDeadline(time.Now().Add(s.timeout))
	fmt.Fprintf(c, "@bpfd fail %s\n", why)
	c.Close()
}

// run starts a bpfd whose standard input and output are the connection, and
// waits for its end.
func (s *server) run(c *tls.Conn) error {
	start := s.execute
	if s.socket != "" {
		start = s.connect
	}
	local, wait, err := start()
	if err != nil {
		s.refuse(c, "start "+err.Error())
		return err
	}
	if _, err = fmt.Fprint(c, "@bpfd have\n"); err == nil {
		err = mtls.Bridge(c, local, linger)
	}
	local.Close()
	if e := wait(); err == nil {
		err = e
	}
	return err
}

// connect has something else start a bpfd, systemd for example.
func (s *server) connect() (*net.UnixConn, func() error, error) {
	local, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.socket, Net: "unix"})
	return local, func() error { return nil }, err
}

// execute runs a bpfd, and gives it some time to clean up when it is waited for.
func (s *server) execute() (*net.UnixConn, func() error, error) {
	local, theirs, err := socketpair()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(s.bpfd)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		local.Close()
		return nil, nil, err
	}
	return local, func() error {
		timer := time.AfterFunc(grace, func() { cmd.Process.Kill() })
		defer timer.Stop()
		return cmd.Wait()
	}, nil
}

// socketpair returns both ends of a local connection, ours and a child's.
func socketpair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "bpfd"), os.NewFile(uintptr(pair[1]), "bpfd")
	local, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return local.(*net.UnixConn), theirs, nil
}
