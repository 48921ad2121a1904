// Command load is a BPF tool that does one thing many times and prints figures.
// The benchmarks run it natively and through bpfctl.
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// loads are what can be measured, and what the number on the command line is.
var loads = map[string]func(n int) error{
	"lookup":   lookup,     // n lookups a round: ns for one
	"walk":     walk,       // a walk over n entries a round: ns for one call
	"getppid":  getppid,    // n calls a round: ns for one
	"ringbuf":  ringBuffer, // a ring buffer of n bytes: records received, records lost
	"perf":     perfEvents, // a perf buffer of n bytes: records received, records lost
	"generate": generate,   // n events a second, for two seconds: events
}

func main() {
	err := fmt.Errorf("usage: load WHAT NUMBER")
	if len(os.Args) == 3 && loads[os.Args[1]] != nil {
		var n int
		if n, err = strconv.Atoi(os.Args[2]); err == nil {
			err = loads[os.Args[1]](n)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// median prints the median over rounds of what a call takes, in ns: a round is n
// operations, which make so many calls together.
func median(n, calls int, op func() error) error {
	const rounds = 9
	took := make([]float64, 0, rounds)
	for range rounds {
		start := time.Now()
		for range n {
			if err := op(); err != nil {
				return err
			}
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/float64(calls))
	}
	slices.Sort(took)
	fmt.Printf("%.1f\n", took[rounds/2])
	return nil
}

func getppid(n int) error {
	return median(n, n, func() error { unix.Getppid(); return nil })
}

// generate calls getpgid(2), whose tracepoint the rings' programs are on, n
// times a second. It keeps to the rate by the millisecond.
func generate(n int) error {
	const length = 2 * time.Second
	start := time.Now()
	made := 0
	for {
		passed := time.Since(start)
		if passed > length {
			break
		}
		for due := int(passed.Seconds() * float64(n)); made < due; made++ {
			unix.Getpgid(0)
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println(made)
	return nil
}
