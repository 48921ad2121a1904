package spawn

import (
	"os"
	"os/signal"
	"syscall"
)

// Notify reports the signals that are passed on to the tool. Those that were
// ignored when this process began stay so, and are ignored by the tool too:
// nohup(1) and the background jobs of a script count on it.
func Notify(c chan<- os.Signal) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}
