package sys

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// insist is how long after a signal another one no longer counts as the same:
// the kernel sends one for each thread whose end a process has asked to be told
// of (prctl(2), PR_SET_PDEATHSIG), a terminal to all processes on it.
const insist = time.Second

// OnSignal calls end before a signal ends the process; who sends another one a
// while later does not wait for end. What was ignored when the process began, as
// by nohup(1) or in a background job, stays ignored: to wait for a signal that
// the process sends itself and does not get would be to stay for ever. The
// returned function ends that.
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
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				end()
			}()
			await(ended, signals)
			die(sig.(unix.Signal))
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// await waits for the end, or for somebody who insists.
func await(ended <-chan struct{}, signals <-chan os.Signal) {
	for begin := time.Now(); ; {
		select {
		case <-ended:
			return
		case <-signals:
			if time.Since(begin) > insist {
				return
			}
		}
	}
}

// die ends the process by a signal.
func die(sig unix.Signal) {
	signal.Reset(sig)
	unix.Kill(unix.Getpid(), sig)
	time.Sleep(time.Second) // another thread may be the one that gets it
	// The init of a container is not ended by its own signals.
	os.Exit(128 + int(sig))
}
