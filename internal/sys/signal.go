package sys

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// OnSignal calls end before a signal ends the process; another one of the same
// kind does so at once. What was ignored when the process began, as by nohup(1)
// or in a background job, stays ignored: to wait for a signal that the process
// sends itself and does not get would be to stay for ever. The returned function
// ends that.
func OnSignal(end func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-signals:
			signal.Reset(sig)
			end()
			unix.Kill(unix.Getpid(), sig.(unix.Signal))
			time.Sleep(time.Second) // another thread may be the one that gets it
			// The init of a container is not ended by its own signals.
			os.Exit(128 + int(sig.(unix.Signal)))
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
