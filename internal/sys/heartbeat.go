package sys

import (
	"sync/atomic"
	"time"
)

// beat is how long a stopped world may wait for a thread in a system call, and
// idleBeat how long where nothing has come for a while.
const (
	beat     = 10 * time.Millisecond
	idleBeat = time.Second
)

// arrivals counts the reads of all Readers that brought something.
var arrivals atomic.Uint64

// Heartbeat keeps a timer pending until stop is closed. A program needs it
// whose goroutines stay in read(2) and the like for as long as nothing comes.
//
// Go 1.26's stopTheWorldWithSema (runtime/proc.go) overlooks a goroutine in a
// system call if the runtime's monitor looks at it at the same moment, or if
// it is just entering the call. A garbage collection then waits until the call
// returns, which may need what a stopped goroutine would do, or until the
// monitor comes round again. That sleeps for up to a minute as long as the
// world is to be stopped, but not beyond the next timer.
//
// A program to which nothing comes hardly ever stops the world: the timer then
// runs less often, which spares a phone's battery.
func Heartbeat(stop <-chan struct{}) {
	last, wait := uint64(0), beat
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		if now := arrivals.Load(); now != last {
			last, wait = now, beat
		} else {
			wait = min(2*wait, idleBeat)
		}
		t.Reset(wait)
	}
}
