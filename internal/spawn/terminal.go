package spawn

import (
	"os/signal"
	"syscall"

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
func takeTerminal() {
	// The kernel stops a process that does so from the background.
	ignored := signal.Ignored(syscall.SIGTTOU)
	signal.Ignore(syscall.SIGTTOU)
	unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp())
	if !ignored {
		signal.Reset(syscall.SIGTTOU)
	}
}
