package text

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"bpfd/internal/ring"
	"bpfd/internal/sys"

	"golang.org/x/sys/unix"
)

const (
	// chunk is how much of a ring is copied at once.
	chunk = 64 << 10
	// tick is how often rings are looked at that hold less than what wakes us.
	tick = 10 * time.Millisecond
	// perfHeader is the size of struct perf_event_header.
	perfHeader = 8
)

// openPerfBuffer opens the ring of a CPU into which programs write with
// bpf_perf_event_output. Waking us for each record would cost the traced
// process more than the record: the ring wakes us when a quarter is used.
func openPerfBuffer(s *session, a *args) {
	const label = "bpf_open_perf_buffer"
	pages := a.int(2)
	size := pages * sys.PageSize
	if pages <= 0 || pages&(pages-1) != 0 || pages > 1<<30/sys.PageSize {
		s.fail(label, fmt.Errorf("%d pages: want a power of two, at most %d: %w", pages, 1<<30/sys.PageSize, unix.EINVAL))
		return
	}
	fd, err := openEvent(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_BPF_OUTPUT, Sample: 1,
		Sample_type: unix.PERF_SAMPLE_RAW, Bits: unix.PerfBitWatermark, Wakeup: uint32(size / 4),
	}, a.int(0), a.int(1), -1)
	if err != nil {
		s.fail(label, err)
		return
	}
	r, err := ring.OpenPerf(fd, size)
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	if err != nil {
		if r != nil {
			r.Close()
		}
		unix.Close(fd)
		s.fail(label, err)
		return
	}
	s.ret(label, int64(s.objects.add(&object{fd: fd, ring: r, perf: true})))
}

// openEvent calls perf_event_open(2).
func openEvent(attr *unix.PerfEventAttr, pid, cpu, group int) (int, error) {
	attr.Size = unix.PERF_ATTR_SIZE_VER1 // the first with two words for probes
	return unix.PerfEventOpen(attr, pid, cpu, group, unix.PERF_FLAG_FD_CLOEXEC)
}

// perfReaderPoll answers the records that the rings hold, however fast more
// arrive; if they hold none, those that they hold when the first has arrived.
func perfReaderPoll(s *session, a *args) {
	list, err := s.rings(a)
	if err == errArguments {
		s.unrecognized(s.last.command, err)
		return
	}
	if err == nil && pendingBytes(list) == 0 {
		s.wait(list, a.int(0), true)
	}
	ends := make([]int, len(list))
	for i, o := range list {
		ends[i] = o.ring.Pending()
	}
	for i := 0; err == nil && i < len(list); i++ {
		err = s.drain(list[i], ends[i])
	}
	if err != nil {
		s.fail("perf_reader_poll", err)
	}
}

// rings returns the perf buffers that a poll names.
func (s *session) rings(a *args) ([]*object, error) {
	var list []*object
	rest := a.rest
	for range a.int(1) {
		var w []byte
		w, rest = word(rest)
		num, ok := number(kindInt, w)
		if !ok {
			return nil, errArguments
		}
		o := s.objects.get(int(num))
		if o == nil || o.ring == nil {
			return nil, fmt.Errorf("%d is no perf buffer of this session: %w", int(num), unix.EBADF)
		}
		list = append(list, o)
	}
	return list, nil
}

func pendingBytes(list []*object) (n int) {
	for _, o := range list {
		n += o.ring.Pending()
	}
	return n
}

// wait waits until a ring holds something, for at most timeout milliseconds, for
// ever if that is negative. Input ends it if byInput, and so does an output that
// nobody reads. mu is not held meanwhile.
func (s *session) wait(list []*object, timeout int, byInput bool) {
	deadline := time.Now().Add(time.Duration(timeout) * time.Millisecond)
	fds := []unix.PollFd{{Fd: int32(s.in.fd), Events: unix.POLLIN}, {Fd: int32(s.out.fd)}}
	for _, o := range list {
		fds = append(fds, unix.PollFd{Fd: int32(o.fd), Events: unix.POLLIN})
	}
	for pendingBytes(list) == 0 {
		if byInput && (s.in.pending() || s.in.eof && timeout < 0) {
			return
		}
		left := time.Until(deadline)
		if timeout >= 0 && left <= 0 {
			return
		}
		if s.in.eof || s.in.pending() {
			fds[0].Fd = -1
		}
		s.mu.Unlock()
		unix.Poll(fds, pause(left, timeout < 0, len(list) > 0))
		broken := fds[0].Revents != 0 && s.in.fill() != nil || fds[1].Revents != 0
		s.mu.Lock()
		if broken {
			return
		}
	}
}

// pause is how many milliseconds to sleep.
func pause(left time.Duration, forever, rings bool) int {
	if rings && (forever || left > tick) {
		left = tick
	} else if forever {
		return -1
	}
	return int((left + time.Millisecond - 1) / time.Millisecond)
}

// drain answers the first size bytes of a ring, less if it is named twice and
// was drained before.
func (s *session) drain(o *object, size int) error {
	for size > 0 {
		var err error
		if s.copied, err = o.ring.Next(s.copied[:0], chunk); err != nil {
			return err
		}
		n := len(s.copied)
		if n == 0 {
			return nil
		}
		for b := s.copied; len(b) > 0; {
			record := b[:binary.NativeEndian.Uint16(b[6:])]
			s.record(o, record)
			b = b[len(record):]
		}
		o.ring.Advance(n)
		size -= n
		s.out.room()
	}
	return nil
}

// record answers one record of a ring, if it is a program's.
func (s *session) record(o *object, b []byte) {
	kind, body := binary.NativeEndian.Uint32(b), b[perfHeader:]
	switch {
	case kind == unix.PERF_RECORD_LOST && len(body) >= 16:
		o.lost += binary.NativeEndian.Uint64(body[8:]) // after the event's id
	case kind == unix.PERF_RECORD_SAMPLE && len(body) >= 4:
		raw := body[4:]
		raw = raw[:min(int(binary.NativeEndian.Uint32(body)), len(raw))]
		line := strconv.AppendInt(s.out.b, int64(o.num), 10)
		line = strconv.AppendInt(append(line, ' '), int64(len(raw)), 10)
		s.out.b = append(encode(append(line, ' '), raw), '\n')
	}
}

// perfReaderLost answers how many records a perf buffer has lost so far, as far
// as it has been read.
func perfReaderLost(s *session, a *args) {
	const label = "perf_reader_lost"
	o := s.objects.get(a.int(0))
	if o == nil || o.ring == nil {
		s.fail(label, fmt.Errorf("%d is no perf buffer of this session: %w", a.int(0), unix.EBADF))
		return
	}
	s.ret(label, int64(o.lost))
}

// pauseCommand waits: in a file of commands the next line would end a poll.
func pauseCommand(s *session, a *args) {
	s.wait(nil, max(a.int(0), 0), false)
	s.ret("wait", 0)
}
