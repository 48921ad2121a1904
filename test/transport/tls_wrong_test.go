package transport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bpfd/internal/mtls"
	"bpfd/internal/transport"
)

// refused fails unless the target cannot be reached for the reason given.
func refused(t *testing.T, url, reason string) {
	t.Helper()
	conn, err := transport.Dial(parse(t, url), transport.Options{})
	if err == nil {
		conn.Kill()
		t.Fatal("connected")
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("refused because %q, want %q", err, reason)
	}
}

// What bpfctl presents is wrong: both ends say so, and no bpfd starts.
func TestTLSWrongHost(t *testing.T) {
	ca, other := authority(t), authority(t)
	copyFile := func(t *testing.T, from, to, name string) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to, name), string(b))
	}
	for _, c := range []struct {
		name         string
		make         func(t *testing.T, dir string)
		ours, theirs string // what is said; theirs is empty if nothing is sent
	}{
		{"nothing", func(*testing.T, string) {}, "ca.pem is missing", ""},
		{"no certificate", func(t *testing.T, dir string) { copyFile(t, ca, dir, "ca.pem") }, "cert.pem is missing", ""},
		{"no key", func(t *testing.T, dir string) {
			copyFile(t, ca, dir, "ca.pem")
			copyFile(t, ca, dir, "cert.pem")
		}, "key.pem is missing", ""},
		{"key of another", func(t *testing.T, dir string) {
			copyFile(t, ca, dir, "ca.pem")
			copyFile(t, ca, dir, "cert.pem")
			copyFile(t, other, dir, "key.pem")
		}, "does not belong to the certificate", ""},
		{"open key", func(t *testing.T, dir string) {
			issue(t, ca, dir, mtls.Host, time.Hour, "h")
			os.Chmod(filepath.Join(dir, "key.pem"), 0o644)
		}, "can be read by others", ""},
		{"expired", func(t *testing.T, dir string) { issue(t, ca, dir, mtls.Host, -time.Minute, "h") }, "is valid from", ""},
		{"a target's certificate", func(t *testing.T, dir string) { issue(t, ca, dir, mtls.Target, time.Hour, "h") }, "for the other end", ""},
		{"other authority", func(t *testing.T, dir string) {
			issue(t, other, dir, mtls.Host, time.Hour, "h")
		}, "it is refused: its certificate is not signed by our authority", "it refuses us: bad certificate"},
		{"authority mixed", func(t *testing.T, dir string) {
			copyFile(t, ca, dir, "ca.pem")
			copyFile(t, other, dir, "cert.pem")
			copyFile(t, other, dir, "key.pem")
		}, "our own certificate is no good", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			program, file := started(t)
			s := startTLS(t, enroll(t, ca, "127.0.0.1"), program)
			dir := t.TempDir()
			c.make(t, dir)
			t.Setenv("BPFD_TLS", dir)
			refused(t, s.url, c.ours)
			if c.theirs != "" {
				s.said(t, c.theirs)
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("a bpfd has started")
			}
		})
	}
}

// What bpfd-tls presents is wrong.
func TestTLSWrongTarget(t *testing.T) {
	ca := authority(t)
	t.Setenv("BPFD_TLS", ca)
	program, file := started(t)
	for _, c := range []struct {
		name, host   string
		names        []string
		ours, theirs string
	}{
		{"wrong name", "localhost", []string{"other.example", "127.0.0.1"}, "its certificate is for [127.0.0.1 other.example], not for localhost", "it refuses us: bad certificate"},
		{"wrong address", "127.0.0.1", []string{"localhost", "127.0.0.2"}, "not for 127.0.0.1", "it refuses us: bad certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startTLS(t, enroll(t, ca, c.names...), program)
			refused(t, strings.Replace(s.url, "127.0.0.1", c.host, 1), c.ours)
			s.said(t, c.theirs)
		})
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string)
		says string
	}{
		{"nothing", func(*testing.T, string) {}, "ca.pem is missing"},
		{"expired", func(t *testing.T, dir string) { issue(t, ca, dir, mtls.Target, -time.Minute, "127.0.0.1") }, "is valid from"},
		{"a host's certificate", func(t *testing.T, dir string) { issue(t, ca, dir, mtls.Host, time.Hour, "127.0.0.1") }, "for the other end"},
		{"no key", func(t *testing.T, dir string) {
			issue(t, ca, dir, mtls.Target, time.Hour, "127.0.0.1")
			os.Remove(filepath.Join(dir, "key.pem"))
		}, "key.pem is missing"},
	} {
		t.Run("start with "+c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			out, err := exec.Command(bpfdTLS(t), "--listen", "127.0.0.1:0", "--tls", dir, "--bpfd", program).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, %q; want %q", err, out, c.says)
			}
		})
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a bpfd has started")
	}
}

// Something else than bpfd-tls answers.
func TestTLSWrongServer(t *testing.T) {
	ca := authority(t)
	t.Setenv("BPFD_TLS", ca)
	dir := enroll(t, ca, "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	shake := func(config *tls.Config) func(net.Conn) {
		config.Certificates = []tls.Certificate{pair}
		return func(c net.Conn) { io.Copy(io.Discard, tls.Server(c, config)) }
	}
	for _, c := range []struct {
		name   string
		serve  func(net.Conn)
		reason string
	}{
		{"server only", shake(&tls.Config{NextProtos: []string{"bpfd/1"}}), "it asks for no certificate"},
		{"other protocol", shake(&tls.Config{}), "not bpfd's protocol"},
		{"TLS 1.2", shake(&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"bpfd/1"}}), "protocol version"},
		{"plain HTTP", func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "it does not speak TLS"},
		{"a plain bpfd", func(c net.Conn) { fmt.Fprint(c, "\x01bpfd\r\n\x1a") }, "it does not speak TLS"},
		{"garbage", func(c net.Conn) { c.Write(random(1000)) }, "it does not speak TLS"},
		{"silence", func(net.Conn) {}, "closed the connection in the middle of the TLS handshake"},
		{"half a handshake", func(c net.Conn) {
			c.Write([]byte{0x16, 3, 3, 0, 100, 2, 0, 0})
			c.(interface{ CloseWrite() error }).CloseWrite()
		}, "closed the connection in the middle of the TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			got := make(chan []byte, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				var first [1]byte
				io.ReadFull(conn, first[:])
				got <- first[:]
				c.serve(&prefixed{conn.(*net.TCPConn), first[:]})
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
				conn.Close()
			}()
			refused(t, "tcp://"+l.Addr().String(), c.reason)
			if b := <-got; b[0] != 0x16 { // a TLS handshake record
				t.Errorf("the first byte that was sent is %#x", b[0])
			}
		})
	}
}

// prefixed gives back a byte that was read.
type prefixed struct {
	*net.TCPConn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.TCPConn.Read(b)
}

// Something else than bpfctl comes to bpfd-tls.
func TestTLSWrongClient(t *testing.T) {
	ca := authority(t)
	program, file := started(t)
	s := startTLS(t, enroll(t, ca, "127.0.0.1"), program, "--handshake-timeout", "1s")
	address := strings.TrimPrefix(s.url, "tcp://")
	certificate := func(life time.Duration, role mtls.Role, ca string) []tls.Certificate {
		dir := t.TempDir()
		issue(t, ca, dir, role, life, "h")
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	shake := func(config *tls.Config) func(net.Conn) ([]byte, error) {
		config.InsecureSkipVerify = true
		if config.NextProtos == nil {
			config.NextProtos = []string{"bpfd/1"}
		}
		return func(c net.Conn) ([]byte, error) {
			conn := tls.Client(c, config)
			if _, err := conn.Write([]byte("source 100\n")); err != nil {
				return nil, err
			}
			return io.ReadAll(conn)
		}
	}
	send := func(b []byte) func(net.Conn) ([]byte, error) {
		return func(c net.Conn) ([]byte, error) {
			c.Write(b)
			return io.ReadAll(c)
		}
	}
	for _, c := range []struct {
		name   string
		client func(net.Conn) ([]byte, error)
		ours   string // an error of the client's TLS; empty if it has none
		theirs string
	}{
		{"no certificate", shake(&tls.Config{}), "certificate required", "client didn't provide a certificate"},
		{"other authority", shake(&tls.Config{Certificates: certificate(time.Hour, mtls.Host, authority(t))}), "certificate", "its certificate is not signed by our authority"},
		{"expired", shake(&tls.Config{Certificates: certificate(-time.Minute, mtls.Host, ca)}), "certificate", "its certificate is valid from"},
		{"a target's certificate", shake(&tls.Config{Certificates: certificate(time.Hour, mtls.Target, ca)}), "certificate", "its certificate is for the other end"},
		{"TLS 1.2", shake(&tls.Config{MaxVersion: tls.VersionTLS12, Certificates: certificate(time.Hour, mtls.Host, ca)}), "protocol version", "unsupported versions"},
		{"other protocol", shake(&tls.Config{NextProtos: []string{"h2"}, Certificates: certificate(time.Hour, mtls.Host, ca)}), "no application protocol", "application protocol"},
		{"plain HTTP", send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), "", "it does not speak TLS"},
		{"a plain bpfctl", send([]byte("\x01bpfd\r\n\x1a")), "", "it does not speak TLS"},
		{"garbage", send(random(1000)), "", "it does not speak TLS"},
		{"half a handshake", send([]byte{0x16, 3, 1, 1, 0, 1, 0, 0}), "", "did not complete the TLS handshake in time"},
		{"silence", send(nil), "", "did not complete the TLS handshake in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			got, err := c.client(conn)
			if c.ours != "" && (err == nil || !strings.Contains(err.Error(), c.ours)) {
				t.Errorf("the client sees %v, want %q", err, c.ours)
			}
			if bytes.Contains(got, []byte("bpfd")) {
				t.Errorf("the client got %q", got)
			}
			s.said(t, c.theirs)
			s.log.Reset()
		})
	}
	if r, err := http.Get("http://" + address); err == nil {
		r.Body.Close()
		t.Error("an HTTP request was answered")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a bpfd has started")
	}
}
