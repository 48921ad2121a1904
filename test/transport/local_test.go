package transport

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bpfd/test/testenv"
)

var peer string // the path of the built peer

// peerVariable names a peer to these tests where no Go is to build one.
const peerVariable = "BPFD_TEST_PEER"

func TestMain(m *testing.M) { os.Exit(withPeer(m)) }

func withPeer(m *testing.M) int {
	if peer = os.Getenv(peerVariable); peer != "" {
		return m.Run()
	}
	testenv.Built("bpfctl")
	dir, err := os.MkdirTemp("", "bpfd-transport-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	peer = filepath.Join(dir, "peer")
	if err := testenv.Build(peer, "./peer", stripped); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// stripped makes a program short, which is pushed over slow links.
const stripped = "GOFLAGS=-ldflags=-s"

func TestShell(t *testing.T) { suite(t, "shell:exec "+peer) }

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	serve(t, "unix", path)
	suite(t, "unix:"+path)
}

// serve does what systemd does for a socket with Accept=yes: each connection
// becomes the standard input and output of a peer.
func serve(t *testing.T, network, address string) {
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.UnixConn).File()
			c.Close()
			if err == nil {
				go attach(f)
			}
		}
	}()
}

// attach runs a peer over a connected socket, which it takes over.
func attach(socket *os.File) {
	cmd := exec.Command(peer)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, io.Discard
	err := cmd.Start()
	socket.Close()
	if err == nil {
		cmd.Wait()
	}
}
