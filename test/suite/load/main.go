// Command load does what tools look at, round after round until it is ended:
// it opens files, spawns processes, writes to a disk, talks over TCP, mounts,
// signals and sleeps. Its first line is its process id, and that of a shell
// which runs beside it, for tools that look into a process with a C library.
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

// pause is between two rounds.
const pause = 150 * time.Millisecond

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
	fmt.Println(os.Getpid(), shell.Process.Pid)
	for ctx.Err() == nil {
		round(dir, listener.Addr().String())
		select {
		case <-ctx.Done():
		case <-time.After(pause):
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
	sleeper := exec.Command("sleep", "60")
	if sleeper.Start() == nil {
		sleeper.Process.Signal(unix.SIGTERM)
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
