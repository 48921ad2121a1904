package main

import (
	"errors"
	"fmt"
	"os"

	"bpfd/internal/transport"

	"golang.org/x/term"
)

// What bpfctl says of the ways to a target.

const (
	agentShort = "manage the bpfd that was pushed to a target"
	agentLong  = `agent manages the bpfd that was pushed to a target of ssh or adb.

run and shell push it when it is not there yet, into a directory that only its
owner can enter: the URL's ?path=DIRECTORY, $XDG_CACHE_HOME, ~/.cache,
/data/local/tmp, /tmp, /var/tmp or /dev/shm, the first from which programs may be
executed. Nothing of it runs when no bpfctl is connected.`
	agentExample = `  bpfctl agent push -t root@board
  bpfctl agent status -t adb:
  bpfctl agent rm -t root@board`
	agentPushShort   = "push bpfd unless it is there, and print its path"
	agentStatusShort = "print the paths of every bpfd that was pushed"
	agentRemoveShort = "remove every bpfd that was pushed, and print their paths"
)

const (
	tlsShort = "make certificates for targets of tcp://"
	tlsLong  = `tls makes a small certificate authority, and certificates for this host and for
targets on which bpfd-tls runs. Each end refuses an end that has none.

The authority and this host's certificate are in $BPFD_TLS, by default
~/.config/bpfd/tls. Whoever has its ca-key.pem can enroll others.`
	tlsExample = `  bpfctl tls init
  bpfctl tls enroll board.example 192.168.1.7 -o board
  scp -r board root@board.example:/etc/bpfd/tls      # then start bpfd-tls there
  bpfctl run -t tcp://board.example:2017 -- bpftool prog list`
	tlsInitShort   = "make an authority and this host's certificate, and print where they are"
	tlsEnrollShort = "make the certificate of a target, and print where its files are"
	tlsEnrollLong  = `enroll makes a directory with ca.pem, cert.pem and key.pem, which bpfd-tls on the
target wants in /etc/bpfd/tls. NAME and ADDRESS are what bpfctl will call the
target in tcp://NAME:PORT; a certificate is good for those alone.`
	tlsDaysUsage   = "`number` of days for which the certificate is valid"
	tlsOutputUsage = "`directory` to make; by default bpfd-tls-NAME"
	tlsHostUsage   = "the certificate is for the bpfctl of another host, whose $BPFD_TLS the directory is"
)

func errDays() error { return errors.New("--days: want a number from 1 to 3650") }

// showProgress rewrites a line on standard error, which must not be longer than
// the terminal is wide: a line that wraps stays.
func showProgress(target string, p transport.Progress) {
	what := fmt.Sprintf("bpfctl: %s: sending bpfd for %s to %s", target, p.Arch, p.Dir)
	done := fmt.Sprintf(": %3d%%", 100*p.Done/p.Total)
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && width > len(done) {
		what = what[:min(len(what), width-1-len(done))]
	}
	fmt.Fprintf(os.Stderr, "\r%s%s", what, done)
	if p.Done == p.Total {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

func warnSilent(target string) {
	fmt.Fprintf(os.Stderr, "bpfctl: %s: no bpfd has answered yet\n", target)
}
