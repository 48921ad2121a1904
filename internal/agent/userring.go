package agent

import (
	"bpfd/internal/ring"
	"bpfd/internal/wire"
)

// writeRing appends the host's records to a user ring buffer.
func (s *session) writeRing(req *wire.WriteRing) *wire.WriteRingReply {
	fd, err := s.fds.mappable(req.Handle)
	if err != nil {
		return &wire.WriteRingReply{Errno: errno(err)}
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
