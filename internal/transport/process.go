package transport

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is what is asked for: the default limit of pipe(7).
const pipeSize = 1 << 20

// start runs a command whose standard input and output are the connection. It
// has its own process group, so that the terminal's Ctrl-C does not reach it,
// and ends with this process.
func start(cmd *exec.Cmd, o Options) (*Conn, error) {
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
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, o.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
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
	wait := sync.OnceValue(func() error {
		defer close(done)
		return cmd.Wait()
	})
	return &Conn{R: r, W: w, Wait: wait, Kill: func() { cmd.Process.Kill() }}, nil
}
