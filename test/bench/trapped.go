package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"bpfd/internal/notify"

	"golang.org/x/sys/unix"
)

// walked compares a call of a walk, which bpfctl answers by itself, with a
// notification that is answered without a look at the call.
func (b *bench) walked() (figure, figure) {
	n, r := pairs(notified, func() float64 { return numbers(b.remote([]string{b.load, "walk", "10000"})...)[0] })
	return micros(n), micros(r)
}

// trappedArg makes this program one whose getppid(2) is trapped.
const trappedArg = "trapped"

// notified returns what a trapped call takes at least, in ns.
func notified() float64 {
	cmd := exec.Command("/proc/self/exe", trappedArg)
	in, out := piped(cmd)
	lines := bufio.NewReader(out)
	listener, err := takeOver(cmd.Process.Pid, lines)
	if err != nil {
		fail("listener of %v: %v", cmd.Args, err)
	}
	answered := make(chan error)
	go func() { answered <- answerAll(listener) }()
	in.Close() // it may begin
	line, _ := lines.ReadString('\n')
	ns, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		err = <-answered
	}
	if err != nil {
		fail("%v: %v", cmd.Args, err)
	}
	return ns
}

// takeOver copies the listener whose number a process prints.
func takeOver(pid int, lines *bufio.Reader) (*notify.Listener, error) {
	line, err := lines.ReadString('\n')
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return nil, err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, number, 0)
	if err != nil {
		return nil, err
	}
	return notify.NewListener(fd), nil
}

// answerAll answers each call with nothing, until there is nobody to make one.
func answerAll(l *notify.Listener) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.Close()
	for {
		var c notify.Call
		ok, err := l.Receive(&c)
		if !ok || err != nil {
			return err
		}
		if err := l.Return(c.ID, 1, 0); err != nil {
			return err
		}
	}
}

// trapped makes trapped calls and prints what one takes, in ns.
func trapped() error {
	const calls = 20000
	runtime.LockOSThread()
	filter, err := notify.Filter([]notify.Trap{{Nr: unix.SYS_GETPPID}})
	if err != nil {
		return err
	}
	fd, err := install(filter)
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	fmt.Println(fd)
	os.Stdin.Read(make([]byte, 1)) // until it is closed
	unix.Close(fd)
	start := time.Now()
	for range calls {
		unix.Getppid()
	}
	fmt.Println(float64(time.Since(start).Nanoseconds()) / calls)
	return nil
}
