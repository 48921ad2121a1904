package agent

import (
	"bpfd/internal/ring"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// writeRing appends the host's records to a user ring buffer.
func (s *session) writeRing(req *wire.WriteRing) *wire.WriteRingReply {
	fd, ok := s.fds.get(req.Handle)
	if !ok {
		return &wire.WriteRingReply{Errno: uint32(unix.EBADF)}
	}
	w, err := ring.OpenWriter(fd, int(req.Size))
	if err != nil {
		return &wire.WriteRingReply{Errno: errno(err)}
	}
	defer w.Close()
	if err := w.Append(req.Bytes); err != nil {
		return &wire.WriteRingReply{Errno: errno(err)}
	}
	return &wire.WriteRingReply{Consumed: w.Consumed()}
}
