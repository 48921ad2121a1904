package supervisor

import (
	"fmt"

	"bpfd/internal/abi"
	"bpfd/internal/marshal"
	"bpfd/internal/remotefs"
	"bpfd/internal/ring"
	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// mmap answers mmap(2) of an object: it makes the placeholder's memory what
// the kernel's would be, and lets the tool map it.
func (s *Supervisor) mmap(r *request) answer {
	fd := int(int32(r.Args[4]))
	o := s.objects.lookup(r, fd)
	if o == nil {
		return resume
	}
	err := s.mapObject(r, o, fd)
	errno, known := err.(unix.Errno)
	if s.opts.Trace != nil {
		s.trace(r, marshal.Mmap(&o.Object, r.Args), 0, errno)
	}
	switch {
	case err == nil:
		return resume
	case known:
		return fail(errno)
	}
	return linkLost()
}

// mapObject prepares what the tool is about to map.
func (s *Supervisor) mapObject(r *request, o *object, fd int) error {
	o.mapping.Lock()
	defer o.mapping.Unlock()
	length, prot, offset := r.Args[1], r.Args[2], r.Args[5]
	switch {
	case o.Kind == abi.KindPerf:
		if err := s.mapPerf(o, length, prot, offset); err != nil {
			return err
		}
		return s.mappable(r, o, fd)
	case o.Kind != abi.KindMap || o.Map == nil:
		return unix.ENODEV
	case o.Map.Type == abi.BPF_MAP_TYPE_RINGBUF:
		if prot&unix.PROT_WRITE != 0 && (offset != 0 || length != uint64(sys.PageSize)) {
			return unix.EPERM // only the consumer's position is written by tools
		}
		return s.mapRing(o, offset+length, s.mapRingbuf)
	case o.Map.Type == abi.BPF_MAP_TYPE_USER_RINGBUF:
		if prot&unix.PROT_WRITE != 0 && offset == 0 {
			return unix.EPERM // only the consumer's position is not
		}
		return s.mapRing(o, offset+length, s.mapUserRing)
	case o.Map.Type == abi.BPF_MAP_TYPE_ARENA:
		s.warnOnce("the tool maps a BPF arena, memory that it would share with programs on the target: that is not possible; mmap fails with EOPNOTSUPP")
		return unix.EOPNOTSUPP
	case o.Map.Type != unix.BPF_MAP_TYPE_ARRAY:
		return enotsupp
	case o.Map.Flags&abi.BPF_F_MMAPABLE == 0:
		return unix.EINVAL
	}
	return s.mapArray(o, length, prot, offset)
}

// enotsupp is the kernel's own ENOTSUPP, which has no name for programs.
const enotsupp = unix.Errno(524)

// mapRing opens a ring of which the tool maps what is before end.
func (s *Supervisor) mapRing(o *object, end uint64, open func(*object) error) error {
	if end > uint64(ring.RingbufMirrorSize(int(o.Map.MaxEntries))) {
		return unix.EINVAL
	}
	return open(o)
}

// mapArray opens a mmapable array, as array_map_mmap and bpf_map_mmap do.
func (s *Supervisor) mapArray(o *object, length, prot, offset uint64) error {
	size := o.Map.MappedSize()
	pages := (uint64(size) + uint64(sys.PageSize) - 1) / uint64(sys.PageSize) * uint64(sys.PageSize)
	switch {
	case prot&unix.PROT_WRITE != 0 && o.frozen.Load():
		return unix.EPERM
	case prot&unix.PROT_WRITE != 0 && o.Map.Flags&unix.BPF_F_RDONLY_PROG != 0:
		return unix.EACCES
	case offset+length > pages:
		return unix.EINVAL
	case size > maxArray:
		s.warnOnce(fmt.Sprintf("the tool maps an array of %d bytes; no more than %d are kept in step with the target, so mmap fails with EFBIG", size, maxArray))
		return unix.EFBIG
	}
	return s.arrays.open(o, size)
}

// mapPerf opens the ring of a perf event: a control page and 2^n pages of data.
func (s *Supervisor) mapPerf(o *object, length, prot, offset uint64) error {
	if offset != 0 {
		s.warnOnce("the AUX area of perf events is not available on a target; mmap fails with EOPNOTSUPP")
		return unix.EOPNOTSUPP
	}
	size := int(length) - sys.PageSize
	if size < 0 || size&(size-1) != 0 || size%sys.PageSize != 0 {
		return unix.EINVAL
	}
	if prot&unix.PROT_WRITE == 0 && size > 0 {
		s.warnOnce("overwritable perf buffers are not available on a target; mmap fails with EOPNOTSUPP")
		return unix.EOPNOTSUPP
	}
	if ring := o.ring.Load(); ring != nil {
		if size != ring.mirror.Size() {
			return unix.EINVAL
		}
		return nil
	}
	if err := s.memory(o); err != nil {
		return err
	}
	if size == 0 { // no records, only the control page
		return unix.Ftruncate(o.memfd, int64(sys.PageSize))
	}
	m, err := ring.NewPerfMirror(o.memfd, size)
	if err != nil {
		return err
	}
	return s.rings.open(o, wire.StreamPerf, m)
}

// memory makes the memfd of an object which has none yet; o.mapping is held.
func (s *Supervisor) memory(o *object) (err error) {
	if o.memfd < 0 {
		o.memfd, err = unix.MemfdCreate(o.name, unix.MFD_CLOEXEC)
	}
	return err
}

// mappable puts the object's memfd in place of the file that is read, for the
// call that is about to map it.
func (s *Supervisor) mappable(r *request, o *object, fd int) error {
	id, err := r.thread.Descriptor(fd)
	if err != nil {
		return unix.EBADF
	}
	if _, other := s.objects.standsAs(o, id); !other {
		return nil
	}
	memory, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", o.memfd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return s.swap(r, o, fd, memory)
}

// swap puts another file that stands for the object in place of the tool's
// descriptor, and closes it here.
func (s *Supervisor) swap(r *request, o *object, fd, file int) error {
	defer unix.Close(file)
	if err := s.objects.adopt(o, file); err != nil {
		s.opts.Warn(err.Error())
		return unix.ENOMEM
	}
	if err := s.listener.ReplaceFD(r.ID, file, fd, r.thread.CloseOnExec(fd)); err != nil {
		return unix.EBADF
	}
	return nil
}

// legible puts the file that is read back in place of the memfd, when a call
// names a descriptor of an event that was mapped: the tool may read it next.
func (s *Supervisor) legible(r *request, o *object, fd int) {
	if !o.Readable {
		return
	}
	id, err := r.thread.Descriptor(fd)
	if err != nil {
		return
	}
	if memfd, _ := s.objects.standsAs(o, id); memfd {
		if file, err := s.tool.Open(fmt.Sprint(remotefs.PlaceholderDir, o.Handle)); err == nil {
			s.swap(r, o, fd, file)
		}
	}
}

func (s *Supervisor) mapRingbuf(o *object) error {
	if o.ring.Load() != nil {
		return nil
	}
	m, err := ring.NewRingbufMirror(o.memfd, int(o.Map.MaxEntries))
	if err != nil {
		return err
	}
	return s.rings.open(o, wire.StreamRingbuf, m)
}
