package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rounds is how often both sides of a row are measured, in turn.
const rounds = 5

// fail ends the program: half a table would mislead.
func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	os.Exit(1)
}

// remote puts bpfctl in front of a command.
func (b *bench) remote(args []string) []string {
	return append([]string{b.bpfctl, "run", "-t", "shell:", "--"}, args...)
}

// pairs measures both sides in turn and returns their medians.
func pairs(native, remote func() float64) (float64, float64) {
	var n, r []float64
	for range rounds {
		n = append(n, native())
		r = append(r, remote())
	}
	slices.Sort(n)
	slices.Sort(r)
	return n[rounds/2], r[rounds/2]
}

// numbers runs a command and returns the numbers that it prints.
func numbers(args ...string) []float64 {
	var errs bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		fail("%v: %v: %s", args, err, errs.String())
	}
	var list []float64
	for _, f := range strings.Fields(string(out)) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			fail("%v printed %q", args, out)
		}
		list = append(list, v)
	}
	return list
}

func micros(ns float64) figure { return figure{ns, fmt.Sprintf("%.2f µs", ns/1000)} }

func (b *bench) lookup() (figure, figure) {
	n, r := pairs(
		func() float64 { return numbers(b.load, "lookup", "20000")[0] },
		func() float64 { return numbers(b.remote([]string{b.load, "lookup", "2000"})...)[0] })
	return micros(n), micros(r)
}

func (b *bench) untrapped() (figure, figure) {
	args := []string{b.load, "getppid", "200000"}
	n, r := pairs(
		func() float64 { return numbers(args...)[0] },
		func() float64 { return numbers(b.remote(args)...)[0] })
	return micros(n), micros(r)
}

// wall measures how long a command takes.
func wall(args ...string) func(*bench) (figure, figure) {
	return func(b *bench) (figure, figure) {
		n, r := pairs(func() float64 { return took(args) }, func() float64 { return took(b.remote(args)) })
		return seconds(n), seconds(r)
	}
}

func seconds(s float64) figure { return figure{s, fmt.Sprintf("%.3f s", s)} }

func took(args []string) float64 {
	start := time.Now()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		fail("%v: %v: %s", args, err, out)
	}
	return time.Since(start).Seconds()
}

// dump prints a pinned hash that bpftool has filled.
func (b *bench) dump() (figure, figure) {
	const entries = 10000
	pin := fmt.Sprintf("/sys/fs/bpf/bpfd-bench-%d", os.Getpid())
	var batch strings.Builder
	fmt.Fprintf(&batch, "map create %s type hash key 4 value 8 entries %d name bench\n", pin, 2*entries)
	for i := range uint32(entries) {
		k := binary.LittleEndian.AppendUint32(nil, i)
		fmt.Fprintf(&batch, "map update pinned %s key %d %d %d %d value 1 2 3 4 5 6 7 8\n", pin, k[0], k[1], k[2], k[3])
	}
	file := filepath.Join(b.dir, "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		fail("%v", err)
	}
	defer os.Remove(pin)
	took([]string{"bpftool", "batch", "file", file})
	return wall("bpftool", "map", "dump", "pinned", pin)(b)
}

// print has bpftrace fill a hash and print it at its end, key by key.
func (b *bench) print() (figure, figure) {
	os.Setenv("BPFTRACE_MAP_KEYS_MAX", "20000")
	defer os.Unsetenv("BPFTRACE_MAP_KEYS_MAX")
	return wall("bpftrace", "-e", "BEGIN { $i = 0; while ($i < 10000) { @[$i] = $i; $i++; } exit(); }")(b)
}

// flood has events made at a rate while a ring is read, and returns how many
// were made and how many the reader says it lost.
func (b *bench) flood(reader []string, rate int) (made, received, lost float64) {
	var out bytes.Buffer
	cmd := exec.Command(reader[0], reader[1:]...)
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fail("%v: %v", reader, err)
	}
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(errs, ready); err != nil || string(ready) != "ready\n" {
		fail("%v does not get ready: %s", reader, ready)
	}
	made = numbers(b.load, "generate", strconv.Itoa(rate))[0]
	if err := cmd.Wait(); err != nil {
		fail("%v: %v", reader, err)
	}
	if _, err := fmt.Sscan(out.String(), &received, &lost); err != nil {
		fail("%v printed %q", reader, out.String())
	}
	return made, received, lost
}

const ringSize = "4194304"

// ringbuf compares the shares of the records that come through, at 1 M/s.
func (b *bench) ringbuf() (figure, figure) {
	share := func(reader []string) func() float64 {
		return func() float64 {
			made, received, _ := b.flood(reader, 1_000_000)
			return received / made
		}
	}
	args := []string{b.load, "ringbuf", ringSize}
	n, r := pairs(share(args), share(b.remote(args)))
	return figure{n, fmt.Sprintf("%.4f %%", 100*n)}, figure{r, fmt.Sprintf("%.4f %%", 100*r)}
}

// perf finds the highest rate at which nothing is lost. A perf buffer slows
// down who writes to it, so the rate is what was really made.
func (b *bench) perf() (figure, figure) {
	highest := func(reader []string) func() float64 {
		return func() float64 {
			best := 0.0
			for _, rate := range []int{250_000, 500_000, 1_000_000, 2_000_000} {
				made, received, _ := b.flood(reader, rate)
				if received < made {
					break
				}
				best = max(best, made/2)
			}
			return best
		}
	}
	args := []string{b.load, "perf", ringSize}
	n, r := pairs(highest(args), highest(b.remote(args)))
	return perSecond(n), perSecond(r)
}

func perSecond(v float64) figure { return figure{v, fmt.Sprintf("%.0f/s", v)} }

const (
	echoArg = "echo"
	// What a lookup's request and its reply take on the wire.
	requestSize, replySize = 158, 63
)

// echo answers requests over standard input and output.
func echo() {
	b := make([]byte, requestSize)
	for {
		if _, err := io.ReadFull(os.Stdin, b); err != nil {
			return
		}
		os.Stdout.Write(b[:replySize])
	}
}

// roundTrip compares a remote lookup with a process that only answers.
func (b *bench) roundTrip() (figure, figure) {
	n, r := pairs(bare, func() float64 { return numbers(b.remote([]string{b.load, "lookup", "2000"})...)[0] })
	return micros(n), micros(r)
}

// piped starts a command with pipes for its standard input and output.
func piped(cmd *exec.Cmd) (in io.WriteCloser, out *os.File) {
	in, err := cmd.StdinPipe()
	if err != nil {
		fail("%v: %v", cmd.Args, err)
	}
	r, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fail("%v: %v", cmd.Args, err)
	}
	return in, r.(*os.File) // os/exec makes it by os.Pipe
}

// bare returns the median time of a round trip in ns.
func bare() float64 {
	cmd := exec.Command("/proc/self/exe", echoArg)
	in, out := piped(cmd)
	const n = 2000
	b := make([]byte, requestSize)
	var list []float64
	for range 9 {
		start := time.Now()
		for range n {
			in.Write(b)
			io.ReadFull(out, b[:replySize])
		}
		list = append(list, float64(time.Since(start).Nanoseconds())/n)
	}
	in.Close()
	cmd.Wait()
	slices.Sort(list)
	return list[len(list)/2]
}
