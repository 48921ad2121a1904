package spawn

import (
	"os"
	"os/signal"
	"syscall"
)

// Notify reports the signals that are passed on to the tool. SIGHUP and SIGINT
// stay ignored if they were when this process began, and are ignored by the
// tool too: nohup(1) and the background jobs of a script count on it. Of the
// others nobody knows: Go's runtime catches them before any code of ours runs.
func Notify(c chan<- os.Signal) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}
