package supervisor

import (
	"bpfd/internal/abi"
	"bpfd/internal/ring"
	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// mmap answers mmap(2) of an object: it makes the placeholder's memory what
// the kernel's would be, and lets the tool map it.
func (s *Supervisor) mmap(r *request) answer {
	o := s.objects.lookup(r.thread, int(int32(r.Args[4])))
	if o == nil {
		return resume
	}
	var err error
	switch {
	case o.Kind == abi.KindPerf:
		err = s.mapPerf(o, int(r.Args[1]), r.Args[2], r.Args[5])
	case o.Kind == abi.KindMap && o.Map.Type == abi.BPF_MAP_TYPE_RINGBUF:
		err = s.mapRingbuf(o)
	case o.Kind == abi.KindMap && o.Map.Type == abi.BPF_MAP_TYPE_USER_RINGBUF:
		err = s.mapUserRing(o)
	case o.Kind == abi.KindMap && o.Map.Flags&abi.BPF_F_MMAPABLE != 0:
		err = s.arrays.open(o, o.Map.MappedSize())
	default:
		err = unix.ENODEV
	}
	if err == nil {
		return resume
	}
	if e, ok := err.(unix.Errno); ok {
		return fail(e)
	}
	return linkLost()
}

// mapPerf opens the ring of a perf event: a control page and 2^n pages of data.
func (s *Supervisor) mapPerf(o *object, length int, prot, offset uint64) error {
	if offset != 0 {
		s.warnOnce("the AUX area of perf events is not available on a target")
		return unix.EOPNOTSUPP
	}
	if prot&unix.PROT_WRITE == 0 {
		s.warnOnce("overwritable perf buffers are not available on a target")
		return unix.EOPNOTSUPP
	}
	if o.ring != nil {
		return nil
	}
	size := length - sys.PageSize
	if size <= 0 || size&(size-1) != 0 {
		return unix.EINVAL
	}
	m, err := ring.NewPerfMirror(o.memfd, size)
	if err != nil {
		return err
	}
	return s.rings.open(o, wire.StreamPerf, m)
}

func (s *Supervisor) mapRingbuf(o *object) error {
	if o.ring != nil {
		return nil
	}
	m, err := ring.NewRingbufMirror(o.memfd, int(o.Map.MaxEntries))
	if err != nil {
		return err
	}
	return s.rings.open(o, wire.StreamRingbuf, m)
}
