package main

import (
	"fmt"
	"os"

	"bpfd/internal/headers"

	"golang.org/x/sys/unix"
)

const headersUsage = "kernel headers of the target are in this `directory`"

func progressHeaders(target string) string {
	return fmt.Sprintf("bpfctl: getting the kernel headers of %s", target)
}

// progress returns what shows on a terminal how far a transfer is, nil if
// standard error is none.
func progress(what string) func(done, total uint64) {
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return func(done, total uint64) {
		if done >= total {
			fmt.Fprint(os.Stderr, "\r\033[K")
			return
		}
		fmt.Fprintf(os.Stderr, "\r%s: %d%% of %.1f MB ", what, done*100/total, float64(total)/1e6)
	}
}

func errNamedHeaders(by string, err error) error { return fmt.Errorf("%s: %w", by, err) }

func errOtherHeaders(err error) error {
	return fmt.Errorf("%w; %s=1 takes them all the same", err, anyHeaders)
}

func errNoHeaders(target string, f *headers.Finder) error {
	return fmt.Errorf("%s: the tool wants kernel headers of %s (%s); give them by --headers DIR", target, f.Kernel.Release, f.Kernel.Arch)
}
