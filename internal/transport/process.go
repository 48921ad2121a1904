package transport

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is what is asked for: the default limit of pipe(7).
const pipeSize = 1 << 20

// start runs a command whose standard input and output are the connection. It
// is hung up when this process ends, so that a bpfd cleans up. If it has its
// own process group, the terminal's Ctrl-C does not reach it.
func start(cmd *exec.Cmd, group bool) (*Conn, error) {
	var in, out [2]int
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		unix.Close(in[0])
		unix.Close(in[1])
		return nil, err
	}
	for _, fd := range []int{in[1], out[0]} {
		// More at once than the 64 KiB of a pipe; a user's limit may forbid it.
		unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
	}
	stdin, w := os.NewFile(uintptr(in[0]), "stdin"), os.NewFile(uintptr(in[1]), "to "+cmd.Path)
	r, stdout := os.NewFile(uintptr(out[0]), "from "+cmd.Path), os.NewFile(uintptr(out[1]), "stdout")
	stderr := &tail{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	// A master of ssh's ControlPersist outlives its command and keeps stderr.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group, Pdeathsig: syscall.SIGHUP}
	// The death signal comes when the thread that forked ends: it must stay.
	started := make(chan error)
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		<-done
	}()
	err := <-started
	stdin.Close()
	stdout.Close()
	if err != nil {
		close(done)
		r.Close()
		w.Close()
		return nil, fmt.Errorf("cannot start %s: %w", cmd.Path, err)
	}
	var ended atomic.Bool
	wait := sync.OnceValue(func() error {
		defer close(done)
		defer ended.Store(true)
		return cmd.Wait()
	})
	kill := func() {
		switch {
		case ended.Load():
		case group: // what a shell has started as well
			unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		default:
			cmd.Process.Kill()
		}
	}
	return &Conn{R: r, W: w, Wait: wait, Kill: kill, stderr: stderr}, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // protects following
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = bytes.Clone(t.b[len(t.b)-tailSize:])
	}
	return len(p), nil
}

// last returns the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(string(t.b))
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}
