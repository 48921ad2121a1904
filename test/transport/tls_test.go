package transport

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bpfd/internal/mtls"
	"bpfd/internal/transport"
	"bpfd/test/testenv"
)

// authority makes an authority with a certificate of this host.
func authority(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tls")
	if err := mtls.Init(dir); err != nil {
		t.Fatal(err)
	}
	issue(t, dir, dir, mtls.Host, time.Hour, "here")
	return dir
}

func issue(t *testing.T, ca, out string, role mtls.Role, life time.Duration, names ...string) {
	t.Helper()
	if err := mtls.Issue(ca, out, role, life, names...); err != nil {
		t.Fatal(err)
	}
}

// enroll makes what a target has.
func enroll(t *testing.T, ca string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	issue(t, ca, dir, mtls.Target, time.Hour, names...)
	return dir
}

// tlsServer is a bpfd-tls that runs.
type tlsServer struct {
	url string
	log testenv.Buffer
}

// said waits until bpfd-tls has said something.
func (s *tlsServer) said(t *testing.T, text string) {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("bpfd-tls did not say %q, but", text), func() bool {
		return strings.Contains(s.log.String(), text)
	}, &s.log)
}

// started is a program that leaves a file, to see whether anybody got that far.
func started(t *testing.T) (program, file string) {
	dir := t.TempDir()
	program, file = filepath.Join(dir, "bpfd"), filepath.Join(dir, "started")
	write(t, program, "#!/bin/sh\n: >"+file+"\nexec "+peer+"\n")
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	return program, file
}

func startTLS(t *testing.T, dir, bpfd string, args ...string) *tlsServer {
	t.Helper()
	port := freePort(t)
	s := &tlsServer{url: fmt.Sprintf("tcp://127.0.0.1:%d", port)}
	args = append(args, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--tls", dir)
	if bpfd != "" {
		args = append(args, "--bpfd", bpfd)
	}
	cmd := exec.Command(bpfdTLS(t), args...)
	cmd.Stderr = &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	s.said(t, "listening")
	return s
}

// bpfdTLS builds bpfd-tls once.
func bpfdTLS(t *testing.T) string {
	t.Helper()
	buildTLS.Do(func() {
		if err := testenv.Build(filepath.Join(filepath.Dir(peer), "bpfd-tls"), "../../cmd/bpfd-tls"); err != nil {
			t.Fatal(err)
		}
	})
	return filepath.Join(filepath.Dir(peer), "bpfd-tls")
}

var buildTLS sync.Once

func TestTLS(t *testing.T) {
	ca := authority(t)
	t.Setenv("BPFD_TLS", ca)
	s := startTLS(t, enroll(t, ca, "127.0.0.1", "localhost"), peer)
	suite(t, s.url)
	t.Run("by name", func(t *testing.T) { echo(t, strings.Replace(s.url, "127.0.0.1", "localhost", 1), 1000) })
}

// A bpfd-tls without privileges leaves the starting to whoever listens at a socket.
func TestTLSSocket(t *testing.T) {
	ca := authority(t)
	t.Setenv("BPFD_TLS", ca)
	socket := filepath.Join(t.TempDir(), "socket")
	serve(t, "unix", socket)
	s := startTLS(t, enroll(t, ca, "127.0.0.1"), "", "--socket", socket)
	echo(t, s.url, 1<<20)
	dies(t, s.url)
	cut(t, s.url)
}

// There are no more connections than permitted, and who comes too late is told.
func TestTLSLimit(t *testing.T) {
	ca := authority(t)
	t.Setenv("BPFD_TLS", ca)
	s := startTLS(t, enroll(t, ca, "127.0.0.1"), peer, "--connections", "1")
	first, _ := hold(t, s.url)
	refused(t, s.url, "serves as many connections as it may, 1")
	s.said(t, "1 connections are served already")
	finish(t, first)
	testenv.Retry(t, func() error {
		conn, err := transport.Dial(parse(t, s.url), transport.Options{})
		if err == nil {
			finish(t, conn)
		}
		return err
	})
}
