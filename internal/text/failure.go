package text

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// failure is what went wrong last. Replies say only that something did: a
// client of 2018 takes any other text in them for the result.
type failure struct {
	command string // that is running
	failed  string // that failed
	err     error
	log     string // of the verifier
}

// keep notes that the running command has failed.
func (f *failure) keep(err error) {
	f.failed, f.err, f.log = f.command, err, ""
	if v := (*verifierError)(nil); errors.As(err, &v) {
		f.log = v.log
	}
}

// verifierError is an error with what the verifier has to say.
type verifierError struct {
	error
	log string
}

func (e *verifierError) Unwrap() error { return e.error }

// lastError answers the errno of the command that failed last, 0 if none has,
// then what failed, then the verifier's log.
func lastError(s *session, _ *args) {
	f := &s.last
	if f.err == nil {
		s.ret("last_error", 0)
		return
	}
	errno := unix.EINVAL
	errors.As(f.err, &errno)
	s.ret("last_error", int64(errno))
	s.out.line(f.failed + ": " + f.err.Error() + "\n")
	if log := strings.TrimRight(f.log, "\n\x00"); log != "" {
		s.out.line(log + "\n")
	}
}

func errNoMap(num int) error { return fmt.Errorf("%d is no map of this session: %w", num, unix.EBADF) }

func errKeySize(got, want int) error {
	return fmt.Errorf("the key has %d bytes, keys of this map have %d: %w", got, want, unix.EINVAL)
}

func errValueSize(got, want int) error {
	return fmt.Errorf("the value has %d bytes, values of this map have %d: %w", got, want, unix.EINVAL)
}
