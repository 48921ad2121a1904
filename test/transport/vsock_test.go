package transport

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/internal/transport"
	"bpfd/test/vm"

	"golang.org/x/sys/unix"
)

// TestVsock passes the suite over this kernel's vsock to itself. Where that is
// missing, TestVM runs it in a guest that has it.
func TestVsock(t *testing.T) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this kernel has no vsock: %v", err)
	}
	l := os.NewFile(uintptr(fd), "vsock")
	t.Cleanup(func() { l.Close() })
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_LOCAL, Port: unix.VMADDR_PORT_ANY}); err != nil {
		t.Skipf("this kernel's vsock does not lead to itself: %v", err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	go acceptVsock(l)
	port := address.(*unix.SockaddrVM).Port
	suite(t, fmt.Sprintf("vsock:%d:%d", unix.VMADDR_CID_LOCAL, port))
	t.Run("nobody", func(t *testing.T) {
		for url, says := range map[string]string{
			fmt.Sprintf("vsock:%d:%d", unix.VMADDR_CID_LOCAL, port+1): "connection reset",
			fmt.Sprintf("vsock:4711:%d", port):                        "no virtual machine with the context id 4711",
		} {
			if _, err := transport.Dial(parse(t, url), transport.Options{}); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v; want %q", url, err, says)
			}
		}
	})
}

// acceptVsock attaches a peer to each connection until the listener is shut.
func acceptVsock(l *os.File) {
	for {
		fd, _, err := unix.Accept4(int(l.Fd()), unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		go attach(os.NewFile(uintptr(fd), "vsock"))
	}
}

// guestPrograms are these tests and their peer, for a guest to run by itself.
func guestPrograms(t *testing.T, arch, peer string) []vm.Option {
	t.Helper()
	tests := filepath.Join(t.TempDir(), "tests")
	cmd := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-o", tests, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []vm.Option{vm.WithFile("/bin/transport.test", tests), vm.WithFile("/bin/peer", peer)}
}

// vsockInGuest runs TestVsock in a guest, whose kernel has what it needs.
func vsockInGuest(t *testing.T, v *vm.VM) {
	out := v.Sh(t, "cd /tmp && "+peerVariable+"=/bin/peer transport.test -test.v -test.run '^TestVsock$'")
	if !strings.Contains(out, "--- PASS: TestVsock/parallel") {
		t.Error(out)
	}
}
