package sys

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// ReadFile returns what a file holds. Unlike os.ReadFile it brings nothing into
// the daemon that knows times and their zones.
func ReadFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var b bytes.Buffer
	_, err = b.ReadFrom(NewReader(fd))
	return b.Bytes(), err
}
