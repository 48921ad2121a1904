package supervisor

import (
	"sync/atomic"
	"time"

	"bpfd/internal/wire"
)

// answerTime is how long a target may take for an answer before the user is
// told, who has pressed Ctrl-C.
const answerTime = 2 * time.Second

// patience watches whether the target answers while the user wants the tool to
// end: a tool that waits for a file of the target heeds no signal.
type patience struct {
	asking atomic.Bool // a question is on its way
	silent atomic.Bool // and has had no answer for long
}

// signalled is called for each signal that ends tools. Where the target does
// not answer, the first has the user told, the next gives the target up.
func (s *Supervisor) signalled(stop <-chan struct{}) {
	if s.patience.silent.Load() {
		s.target.Abort()
		s.opts.Cut()
		return
	}
	if !s.patience.asking.CompareAndSwap(false, true) {
		return
	}
	answered := make(chan struct{})
	go func() { // until the answer or the end of the connection
		s.target.Do(wire.TypeInfo, wire.Empty{}, &wire.Info{})
		close(answered)
	}()
	s.spawn(func() {
		defer s.patience.asking.Store(false)
		select {
		case <-answered:
			return
		case <-stop:
			return
		case <-time.After(answerTime):
		}
		s.patience.silent.Store(true)
		defer s.patience.silent.Store(false)
		s.opts.Warn("the target does not answer; another signal ends the tool")
		select {
		case <-answered:
		case <-stop:
		}
	})
}
