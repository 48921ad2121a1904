package text

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// onSignal calls end before a signal ends the process; another one of the same
// kind does so at once. What was ignored when the process began, as by nohup(1)
// or in a background job, stays ignored: to wait for a signal that the process
// sends itself and does not get would be to stay for ever. The returned function
// ends that.
func onSignal(end func()) (stop func()) {
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
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
