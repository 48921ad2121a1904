package text

import (
	"sync"

	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

// before is how a terminal was before Prepare.
var before struct {
	mu    sync.Mutex // protects following
	fd    int
	state *unix.Termios
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// Prepare has a terminal pass on what is typed as it is, without an echo: in
// its canonical mode it cuts lines at 4,095 bytes (N_TTY_BUF_SIZE). Other
// descriptors stay as they are. Restore takes it back, and so does a signal that
// ends the process until the returned function is called: whoever serves the
// client does that from then on.
func Prepare(fd int) (served func()) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	served = sys.OnSignal(Restore)
	raw := *old
	raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHONL
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	before.mu.Lock()
	defer before.mu.Unlock()
	if unix.IoctlSetTermios(fd, unix.TCSETS, &raw) == nil {
		before.fd, before.state = fd, old
	}
	return served
}

// Restore puts the terminal back as it was before Prepare.
func Restore() {
	before.mu.Lock()
	defer before.mu.Unlock()
	if before.state != nil {
		unix.IoctlSetTermios(before.fd, unix.TCSETS, before.state)
		before.state = nil
	}
}
