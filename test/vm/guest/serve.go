package guest

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// ServeCommands runs a command for each connection.
func ServeCommands(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go serveCommand(conn)
	}
}

func serveCommand(conn net.Conn) {
	defer conn.Close()
	if _, err := io.WriteString(conn, Banner); err != nil {
		return
	}
	c := NewConn(conn)
	var req Request
	if err := c.Receive(&req); err != nil || len(req.Args) == 0 {
		return
	}
	c.Send(run(c, req))
}

// run runs a command in a process group of its own, which ends with the
// connection.
func run(c *Conn, req Request) Output {
	cmd := exec.Command(req.Args[0], req.Args[1:]...)
	cmd.Env = append(os.Environ(), req.Env...)
	cmd.Stdout = writer{c, func(p []byte) any { return Output{Stdout: p} }}
	cmd.Stderr = writer{c, func(p []byte) any { return Output{Stderr: p} }}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return Output{Exited: true, Err: err.Error()}
	}
	if err := cmd.Start(); err != nil {
		return Output{Exited: true, Status: 127, Err: err.Error()}
	}
	go feed(c, stdin, cmd.Process.Pid)
	err = cmd.Wait()
	out := Output{Exited: true, Status: cmd.ProcessState.ExitCode()}
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		out.Status = 128 + int(w.Signal())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		out.Err = err.Error()
	}
	return out
}

// feed hands a command its input and signals until the connection ends.
func feed(c *Conn, stdin io.WriteCloser, group int) {
	defer stdin.Close()
	for {
		var in Input
		if err := c.Receive(&in); err != nil {
			syscall.Kill(-group, syscall.SIGKILL)
			return
		}
		stdin.Write(in.Stdin)
		if in.EOF {
			stdin.Close()
		}
		if in.Signal != 0 {
			syscall.Kill(-group, in.Signal)
		}
	}
}

// ServeDaemon starts a bpfd for each connection.
func ServeDaemon(l *net.TCPListener, path string) error {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return err
		}
		f, err := conn.File()
		conn.Close()
		if err != nil {
			return err
		}
		cmd := exec.Command(path)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, os.Stderr
		err = cmd.Start()
		f.Close()
		if err != nil {
			return err
		}
		go cmd.Wait()
	}
}
