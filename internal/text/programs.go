package text

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// insnSize is the size of struct bpf_insn.
const insnSize = 8

// Instructions that refer to a map by descriptor: BPF_LD | BPF_IMM | BPF_DW with
// the source register BPF_PSEUDO_MAP_FD or BPF_PSEUDO_MAP_VALUE.
const loadImm64 = unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW

// program is what BPF_PROG_LOAD asks for.
type program struct {
	kind          int
	name, license string
	version       uint32
	insns         []byte
}

// isNumber says whether a word is a decimal number.
func isNumber(w []byte) bool {
	_, err := strconv.ParseInt(string(w), 10, 64)
	return err == nil
}

// chooseProgLoad tells dialect A by its length, which others have after a name.
func chooseProgLoad(words [][]byte) int {
	if len(words) > 2 && isNumber(words[1]) && !isNumber(words[2]) {
		return 0
	}
	return 1
}

func progLoadA(s *session, a *args) {
	s.progLoad(program{kind: a.int(0), license: a.string(2), version: a.u32(3)}, a.int(1), a.words[4])
}

func progLoadB(s *session, a *args) {
	s.progLoad(program{kind: a.int(0), name: a.name(1), license: a.string(3), version: a.u32(4)}, a.int(2), a.words[5])
}

func (s *session) progLoad(p program, size int, insns []byte) {
	const label = "bpf_prog_load"
	var err error
	if p.insns, err = decode(insns); err == nil && (size <= 0 || size > len(p.insns) || size%insnSize != 0) {
		err = fmt.Errorf("%d bytes are given, %d is said to be the length: %w", len(p.insns), size, unix.EINVAL)
	}
	if err == nil {
		p.insns = p.insns[:size]
		err = s.translate(p.insns)
	}
	if err != nil {
		s.fail(label, err)
		return
	}
	if v := kernelVersion(); v < 5<<16 && p.kind == unix.BPF_PROG_TYPE_KPROBE {
		p.version = v // kernels before 5.0 refuse any other
	}
	fd, err := p.load()
	if err != nil {
		s.fail(label, err)
		return
	}
	s.ret(label, int64(s.objects.add(&object{fd: fd})))
}

// translate puts descriptors in the place of the session's numbers.
func (s *session) translate(insns []byte) error {
	for i := 0; i+insnSize <= len(insns); i += insnSize {
		in := insns[i : i+insnSize]
		if in[0] != loadImm64 {
			continue
		}
		if src := in[1] >> 4; src == unix.BPF_PSEUDO_MAP_FD || src == unix.BPF_PSEUDO_MAP_VALUE {
			num := int(int32(binary.NativeEndian.Uint32(in[4:])))
			o, err := s.objects.mapOf(num)
			if err != nil {
				return fmt.Errorf("instruction %d: %w", i/insnSize, err)
			}
			binary.NativeEndian.PutUint32(in[4:], uint32(o.fd))
		}
		i += insnSize // the other half
	}
	return nil
}

// maxLog is how much the verifier may say: UINT_MAX>>8 before Linux 5.2.
const maxLog = 1<<24 - 1

// load loads the program, without its name if that is what the kernel refuses.
// If it fails it is done again with the verifier talking: to have it talk at
// all times would cost every load.
func (p *program) load() (int, error) {
	fd, err := p.try(nil)
	if refusesName(err) && p.name != "" {
		unnamed := *p
		unnamed.name = ""
		if fd, e := unnamed.try(nil); e == nil {
			return fd, nil
		}
	}
	if err == nil {
		return fd, nil
	}
	log := make([]byte, 256<<10)
	fd, err = p.try(log)
	if err == unix.ENOSPC {
		log = make([]byte, maxLog)
		fd, err = p.try(log)
	}
	if err == nil {
		return fd, nil
	}
	return -1, &verifierError{err, unix.ByteSliceToString(log)}
}

func (p *program) try(log []byte) (int, error) {
	license := cString(p.license)
	var a attr
	a.u32(uint32(p.kind), uint32(len(p.insns)/insnSize))
	a.ptr(p.insns)
	a.ptr(license)
	level := uint32(0)
	if log != nil {
		level = 1
	}
	a.u32(level, uint32(len(log)))
	a.ptr(log)
	a.u32(p.version)
	if p.name != "" {
		a.u32(0) // prog_flags
		a.name(p.name)
	}
	return bpf(unix.BPF_PROG_LOAD, a, p.insns, license, log)
}

// kernelVersion returns LINUX_VERSION_CODE of the running kernel.
var kernelVersion = sync.OnceValue(func() uint32 {
	var u unix.Utsname
	unix.Uname(&u)
	code, err := versionCode(unix.ByteSliceToString(u.Release[:]))
	if err != nil {
		return ^uint32(0) // one that asks for no version
	}
	return code
})

// versionCode reads a release such as 4.14.336-perf.
func versionCode(release string) (uint32, error) {
	var code uint32
	end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		release = release[:end]
	}
	parts := strings.Split(release, ".")
	for i := range 3 {
		v := 0
		if i < len(parts) {
			var err error
			if v, err = strconv.Atoi(parts[i]); err != nil {
				return 0, errors.New("no kernel release")
			}
		}
		code = code<<8 | uint32(min(v, 255))
	}
	return code, nil
}
