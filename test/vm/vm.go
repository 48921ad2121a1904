// Package vm boots virtual machines that are targets: other kernels and
// architectures than the host's. QEMU emulates the processor, so that it needs
// no KVM and no root.
package vm

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"
	"bpfd/test/vm/guest"
)

//go:embed init.sh
var initScript []byte

// bootTimeout is far more than a boot takes on a busy machine.
const bootTimeout = 5 * time.Minute

// slow is how long a guest that is alive may take to say a word.
const slow = time.Minute

// VM is a running virtual machine.
type VM struct {
	Row     Row
	Release string // its kernel's
	dir     string
	cmd     *exec.Cmd
	exited  chan struct{}
	ports   map[int]int // the guest's → the host's, on 127.0.0.1
}

// Start boots a machine for a test, and ends it with the test. If the test
// fails, what the guest's console said is logged. It skips the test where QEMU
// is not installed, or what builds the row's kernel; in CI that fails.
func Start(t testing.TB, row string, opts ...Option) *VM {
	t.Helper()
	r, err := RowOf(row)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Need(t, r.QEMU(), "socat")
	if r.Source != "" {
		testenv.Need(t, programs...)
	}
	v, err := Boot(context.Background(), r, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console of %s:\n%s", row, v.Console())
		}
		v.Close()
	})
	return v
}

// Boot boots a machine and returns when it answers.
func Boot(ctx context.Context, r Row, opts ...Option) (*VM, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	k, err := fetchKernel(cache, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	dir, err := os.MkdirTemp("", "bpfd-vm-")
	if err != nil {
		return nil, err
	}
	v := &VM{Row: r, Release: k.release, dir: dir, exited: make(chan struct{})}
	c := &config{row: r, cache: cache, dir: dir, tree: tree{}, cpus: 2, memory: 512}
	if err := v.boot(ctx, c, k, opts); err != nil {
		v.Close()
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	return v, nil
}

func (v *VM) boot(ctx context.Context, c *config, k *kernel, opts []Option) error {
	if err := c.fill(k, opts); err != nil {
		return err
	}
	if err := c.tree.write(v.path("initramfs")); err != nil {
		return err
	}
	if err := v.start(c, k); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := v.await(ctx); err != nil {
		return err
	}
	return v.writeSSHConfig()
}

func (v *VM) path(name string) string { return filepath.Join(v.dir, name) }

// start starts QEMU. It ends with us, also if we are killed: the kernel signals
// it when the thread that has started it ends (prctl(2), PR_SET_PDEATHSIG), so
// that thread does nothing but wait.
func (v *VM) start(c *config, k *kernel) error {
	cmd := exec.Command(c.row.QEMU(), v.arguments(c, k)...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		cmd.Wait()
		if said.Len() > 0 {
			f, err := os.OpenFile(v.path("console"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
			if err == nil {
				f.WriteString(said.String())
				f.Close()
			}
		}
		close(v.exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	v.cmd = cmd
	return nil
}

// await returns when the guest runs commands.
func (v *VM) await(ctx context.Context) error {
	for {
		err := v.readPorts()
		if err == nil {
			var c *guest.Conn
			if c, err = v.dial(); err == nil {
				return c.Close()
			}
		}
		select {
		case <-v.exited:
			return errors.New("the machine has ended: " + v.Console())
		case <-ctx.Done():
			return fmt.Errorf("the guest does not answer: %w; its console:\n%s", err, v.Console())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readPorts asks QEMU which ports of the host it has chosen.
func (v *VM) readPorts() error {
	if v.ports != nil {
		return nil
	}
	conn, err := net.Dial("unix", v.path("monitor"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("info usernet\nquit-monitor\n")); err != nil {
		return err
	}
	ports := map[int]int{}
	conn.SetReadDeadline(time.Now().Add(slow))
	for s := bufio.NewScanner(conn); s.Scan() && !strings.Contains(s.Text(), "unknown command"); {
		// TCP[HOST_FORWARD]  12  127.0.0.1 40123  10.0.2.15  22  0  0
		f := strings.Fields(s.Text())
		if len(f) < 6 || !strings.HasPrefix(f[0], "TCP[HOST_FORWARD]") {
			continue
		}
		from, err1 := strconv.Atoi(f[3])
		to, err2 := strconv.Atoi(f[5])
		if err1 == nil && err2 == nil {
			ports[to] = from
		}
	}
	if len(ports) != len(forwarded) {
		return errors.New("QEMU does not say which ports it listens on")
	}
	v.ports = ports
	return nil
}

// Port returns the port of 127.0.0.1 that leads to one of the guest's, such as
// guest.SSHPort.
func (v *VM) Port(port int) int { return v.ports[port] }

// Socket returns the path of a unix socket that leads to a bpfd in the guest. It
// serves one connection at a time; others wait for it to end.
func (v *VM) Socket() string { return v.path("bpfd") }

// Target returns what to give to bpfctl -t: the fastest way, for one bpfctl at a time.
func (v *VM) Target() string { return "unix:" + v.Socket() }

// TargetTCP returns what to give to bpfctl -t for several at once.
func (v *VM) TargetTCP() string { return v.target(guest.DaemonPort) }

// TargetNative is TargetTCP with a bpfd that sees NativeRoot as its root, and so
// the programs that run there under the same paths. WithNative makes it.
func (v *VM) TargetNative() string { return v.target(guest.NativePort) }

func (v *VM) target(port int) string {
	return fmt.Sprintf("shell:exec socat - TCP:127.0.0.1:%d", v.Port(port))
}

// Console returns the end of what the guest's console has shown.
func (v *VM) Console() string {
	b, err := os.ReadFile(v.path("console"))
	if err != nil {
		return err.Error()
	}
	const limit = 8 << 10
	return string(b[max(0, len(b)-limit):])
}

// Exited is closed when the machine has ended.
func (v *VM) Exited() <-chan struct{} { return v.exited }

// PowerOff ends the machine at once, as pulling its plug does.
func (v *VM) PowerOff() {
	if v.cmd != nil {
		v.cmd.Process.Kill()
		<-v.exited
	}
}

// Close ends the machine and removes its files.
func (v *VM) Close() {
	v.PowerOff()
	os.RemoveAll(v.dir)
}
