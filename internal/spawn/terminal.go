package spawn

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inForeground says whether standard input is a terminal on which this
// process is in the foreground, tcgetpgrp(3).
func inForeground() bool {
	pgrp, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}

// takeTerminal gives the terminal back to this process's group, which gave it
// to the tool's.
func takeTerminal() { giveTerminal(unix.Getpgrp()) }

// giveTerminal puts a process group into the foreground, tcsetpgrp(3).
func giveTerminal(pgrp int) {
	// The kernel stops a process that does so from the background, unless the
	// thread blocks the signal.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ttou, before unix.Sigset_t
	ttou.Val[0] = 1 << (unix.SIGTTOU - 1)
	unix.PthreadSigmask(unix.SIG_BLOCK, &ttou, &before)
	unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, pgrp)
	unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
}

// stopTime is more than it takes until a process that stops itself has stopped.
const stopTime = 100 * time.Millisecond

// Suspend is for a tool that was stopped while it had the terminal: it stops
// this process's group as well, which the user's shell sees as a job that has
// stopped. When that is continued the tool goes on, with the terminal if the
// job has it. Where no shell is there to continue the group, the kernel does
// not stop it, and the tool goes on at once.
func (t *Tool) Suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	unix.Kill(0, unix.SIGTSTP)
	select {
	case <-continued:
	case <-time.After(stopTime):
	}
	body := []byte{0}
	if inForeground() {
		body[0] = 1
	}
	return t.send(msgContinue, body)
}
