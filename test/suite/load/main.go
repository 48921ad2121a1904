// Command load does what tools look at, round after round until it is ended:
// it opens files, spawns processes, writes to a disk, talks over TCP, shares
// memory, passes descriptors, mounts, signals and sleeps. Its first line is its
// process id, and those of a shell and of a Python which run beside it, for
// tools that look into a process with a C library and into one with USDT probes.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pause is between two rounds, or rest times what a round took: on a slow
// machine the tools are to have their time as well.
const (
	pause = 150 * time.Millisecond
	rest  = 3
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("/var/tmp", "load")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	go echo(listener)
	shell, err := startShell()
	if err != nil {
		return err
	}
	defer shell.Wait()
	defer shell.Process.Kill()
	python, err := startPython()
	if err != nil {
		return err
	}
	defer python.Wait()
	defer python.Process.Kill()
	fmt.Println(os.Getpid(), shell.Process.Pid, python.Process.Pid)
	for ctx.Err() == nil {
		start := time.Now()
		round(dir, listener.Addr().String())
		select {
		case <-ctx.Done():
		case <-time.After(max(pause, rest*time.Since(start))):
		}
	}
	return nil
}

// startShell starts a shell that allocates memory and forks, and ends with us.
func startShell() (*exec.Cmd, error) {
	shell := exec.Command("bash", "-c", `while read -t 0.1; [ $? -gt 128 ]; do x=$(echo $RANDOM); done`)
	if _, err := shell.StdinPipe(); err != nil {
		return nil, err
	}
	return shell, shell.Start()
}

// pythonLoad calls, collects garbage and starts threads until its input ends.
const pythonLoad = `
import gc, select, sys, threading

def called(n):
    return n + 1

while not select.select([sys.stdin], [], [], 0.3)[0]:
    called(1)
    gc.collect()
    thread = threading.Thread(target=called, args=(2,))
    thread.start()
    thread.join()
`

// startPython starts the distribution's Python, which has USDT probes.
func startPython() (*exec.Cmd, error) {
	python := exec.Command("/usr/bin/python3", "-c", pythonLoad)
	if _, err := python.StdinPipe(); err != nil {
		return nil, err
	}
	return python, python.Start()
}

// round makes the events. What fails fails: that is an event as well.
func round(dir, addr string) {
	os.ReadFile("/etc/hostname")
	os.ReadFile("/nonexistent")
	unix.Statfs("/etc", new(unix.Statfs_t))
	unix.Statfs("/nonexistent", new(unix.Statfs_t))
	file := filepath.Join(dir, "file")
	if f, err := os.Create(file); err == nil {
		f.Write(make([]byte, 64<<10))
		f.Sync()
		unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		f.Seek(0, io.SeekStart)
		io.Copy(io.Discard, f)
		f.Close()
		os.Remove(file)
	}
	exec.Command("true").Run()
	exec.Command("getent", "hosts", "localhost").Run() // calls the C library's resolver
	shell := exec.Command("bash", "--norc", "-i")      // calls readline
	shell.Stdin = strings.NewReader("echo hello\n")
	shell.Run()
	talk(addr)
	if l, err := net.Listen("tcp4", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	share()
	pass()
	sleeper := exec.Command("sleep", "60")
	if sleeper.Start() == nil {
		unix.Kill(sleeper.Process.Pid, unix.SIGTERM) // what tools look at, where os.Process has pidfd_send_signal(2)
		sleeper.Wait()
	}
	if unix.Mount("tmpfs", dir, "tmpfs", 0, "") == nil {
		unix.Unmount(dir, 0)
	}
}

// echo answers each connection with what it sends.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

func talk(addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	c.Write(make([]byte, 4096))
	io.ReadFull(c, make([]byte, 4096))
}

// share makes, maps and removes a segment of shared memory.
func share() {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, 0o600)
	if err != nil {
		return
	}
	defer unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	if b, err := unix.SysvShmAttach(id, 0, 0); err == nil {
		unix.SysvShmDetach(b)
	}
}

// pass sends a descriptor over a socket, and receives it.
func pass() {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	if unix.Sendmsg(ends[0], []byte("x"), unix.UnixRights(ends[0]), nil, 0) != nil {
		return
	}
	control := make([]byte, 256)
	_, n, _, _, err := unix.Recvmsg(ends[1], make([]byte, 1), control, 0)
	if err != nil {
		return
	}
	messages, _ := unix.ParseSocketControlMessage(control[:n])
	for _, m := range messages {
		received, _ := unix.ParseUnixRights(&m)
		for _, fd := range received {
			unix.Close(fd)
		}
	}
}
