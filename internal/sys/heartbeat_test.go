package sys

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The world is stopped again and again while goroutines enter read(2). Without
// a heartbeat one of some ten thousand stops takes a minute; with it none takes
// longer than a busy machine makes of some milliseconds.
func TestHeartbeat(t *testing.T) {
	const (
		readers = 4
		while   = 5 * time.Second
		stuck   = 30 * time.Second
	)
	stop := make(chan struct{})
	defer close(stop)
	go Heartbeat(stop)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(readers))
	var out [readers]int
	for i := range out {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		out[i] = p[1]
		defer unix.Close(p[1]) // ends the reader
		go func() {
			defer unix.Close(p[0])
			b := make([]byte, 1)
			for r := NewReader(p[0]); ; {
				if _, err := r.block(b); err != nil {
					return
				}
			}
		}()
	}
	var m runtime.MemStats
	for i, begin := 0, time.Now(); time.Since(begin) < while; i++ {
		unix.Write(out[i%readers], []byte{0})
		for range i % 4096 * 4 { // at another moment of the reader's each time
		}
		start := time.Now()
		runtime.ReadMemStats(&m)
		if d := time.Since(start); d > stuck {
			t.Fatalf("the world was stopped for %v in round %d", d, i)
		}
	}
}
