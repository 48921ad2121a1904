package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bpfd/test/testenv"
	"bpfd/test/vm"
	"bpfd/test/vm/guest"
)

// firstOutput measures how long a tool of bcc's takes until it has printed its
// heading and an event: in a guest, where the compiler runs on the target, and
// from here. Both have run once before, so that no cache is cold.
func (b *bench) firstOutput() (figure, figure) {
	row, err := vm.RowOf("6.1-amd64")
	if err != nil {
		fail("%v", err)
	}
	v, err := vm.Boot(context.Background(), row, vm.WithLoad(), vm.WithNative())
	if err != nil {
		fail("%v", err)
	}
	defer v.Close()
	if r, err := v.Run(context.Background(), "while [ ! -e "+vm.NativeRoot+" ]; do sleep 1; done"); err != nil || r.Status != 0 {
		fail("%v: %s", err, r)
	}
	inguest := filepath.Join(b.dir, "inguest")
	if err := testenv.Build(inguest, "./test/vm/cmd/inguest"); err != nil {
		fail("%v", err)
	}
	headers, err := exec.Command(b.bpfctl, "headers", "-t", v.TargetTCP(), "--fetch").Output()
	if err != nil {
		fail("headers: %v", err)
	}
	tool := []string{"env", "PYTHONUNBUFFERED=1", "BCC_KERNEL_SOURCE=" + strings.TrimSpace(string(headers)), "opensnoop-bpfcc"}
	native := append([]string{inguest, strconv.Itoa(v.Port(guest.CommandPort)), "chroot", vm.NativeRoot}, tool...)
	remote := append([]string{b.bpfctl, "run", "-t", v.TargetTCP(), "--"}, tool...)
	untilSecondLine(native)
	untilSecondLine(remote)
	n, r := pairs(func() float64 { return untilSecondLine(native) }, func() float64 { return untilSecondLine(remote) })
	return seconds(n), seconds(r)
}

// untilSecondLine returns the seconds until a command has printed two lines.
func untilSecondLine(args []string) float64 {
	start := time.Now()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fail("%v: %v", args, err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() {
			fail("%v ended before it printed anything", args)
		}
	}
	took := time.Since(start).Seconds()
	// Python forgets an interrupt that comes while bcc calls it back.
	cmd.Process.Signal(syscall.SIGTERM)
	for lines.Scan() {
	}
	cmd.Wait()
	return took
}
