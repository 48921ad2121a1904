package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// Refused is the error of a program that the verifier does not accept.
type Refused struct {
	Program string
	Reason  string   // the verifier's last word
	Source  string   // FILE:LINE: text, "" if the object has no line numbers
	Log     []string // all that the verifier said

	lines int // of the log in the message
}

// Error begins with one line that says all; the end of the log follows.
func (r *Refused) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "program %s was refused by the target's verifier: %s", r.Program, r.Reason)
	if r.Source != "" {
		fmt.Fprintf(&b, "\n  at %s", r.Source)
	}
	shown := r.Log[max(0, len(r.Log)-r.lines):]
	for _, line := range shown {
		fmt.Fprintf(&b, "\n  | %s", line)
	}
	if n := len(r.Log) - len(shown); n > 0 {
		fmt.Fprintf(&b, "\n  (%d more lines: --log FILE writes all of them)", n)
	}
	return b.String()
}

// What cilium/ebpf's errors say of what failed.
var (
	inProgram = regexp.MustCompile(`^program ([^ :]+): `)
	inMap     = regexp.MustCompile(`map ([^ :]+): map create: `)
	differs   = regexp.MustCompile(`using replacement map ([^ :]+): (.*): [^:]*$`)
	byName    = regexp.MustCompile(`map ([^ :]+): use pinned map .*?: (.*): [^:]*$`)
)

// explain says in the user's terms why an object was not loaded.
func (o *object) explain(err error, lines int) error {
	text := err.Error()
	if m := differs.FindStringSubmatch(text); m != nil && errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("map %s cannot be the pinned one, which differs: %s", m[1], m[2])
	}
	if m := byName.FindStringSubmatch(text); m != nil && errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("map %s is pinned by name, and the target's %s/%s differs: %s", m[1], bpffs, m[1], m[2])
	}
	if m := inMap.FindStringSubmatch(text); m != nil {
		return o.explainMap(m[1], err)
	}
	if m := inProgram.FindStringSubmatch(text); m != nil && o.spec.Programs[m[1]] != nil {
		return o.explainProgram(m[1], err, lines)
	}
	return fmt.Errorf("%s: %w", o.path, err)
}

// explainMap says why a map was not created.
func (o *object) explainMap(name string, err error) error {
	m := o.spec.Maps[name]
	if m == nil {
		return fmt.Errorf("%s: %w", o.path, err)
	}
	what := fmt.Sprintf("map %s (%s, key %d, value %d bytes, %d entries)", name, mapType(m.Type), m.KeySize, m.ValueSize, m.MaxEntries)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: bpfd may not create maps on the target: it must run as root there, or with CAP_BPF", what)
	case errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%s is too big for the target: %w", what, errnoOf(err))
	case unknownMapType(m.Type):
		return fmt.Errorf("%s: the target's kernel, Linux %s, does not know this type of map", what, release())
	}
	return fmt.Errorf("%s is refused by the target's kernel: %s", what, strings.TrimPrefix(inMap.ReplaceAllString(err.Error(), "\n"), "\n"))
}

// lastMapType is the highest type of map that cilium/ebpf can ask a kernel for.
const lastMapType = ebpf.Arena

func unknownMapType(t ebpf.MapType) bool {
	return t > lastMapType || errors.Is(features.HaveMapType(t), ebpf.ErrNotSupported)
}

func mapType(t ebpf.MapType) string {
	if t > lastMapType {
		return fmt.Sprintf("type %d", uint32(t))
	}
	return kernelName(t.String())
}

// explainProgram says why a program was not loaded.
func (o *object) explainProgram(name string, err error, lines int) error {
	p := o.spec.Programs[name]
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) && len(ve.Log) > 0 {
		return o.refused(name, err, ve, lines)
	}
	rest := inProgram.ReplaceAllString(err.Error(), "")
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("program %s (%s): the target's kernel does not permit it: bpfd must run as root there, or with CAP_BPF; if it does, the kernel is locked down or lacks what such programs take", name, p.SectionName)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("program %s has %d instructions, which is too big for the target's kernel: it takes 4096, and a million since Linux 5.2", name, p.Instructions.Size()/8)
	case errors.Is(features.HaveProgramType(p.Type), ebpf.ErrNotSupported):
		return fmt.Errorf("program %s: the target's kernel, Linux %s, does not know programs of type %s", name, release(), kernelName(p.Type.String()))
	case strings.HasPrefix(rest, "attach ") && errors.Is(err, ebpf.ErrNotSupported):
		if _, e := os.Stat(kernelBTF); e != nil {
			return fmt.Errorf("program %s (%s): the target's kernel has no BTF, which this type of program takes", name, p.SectionName)
		}
		return fmt.Errorf("program %s (%s): the target's kernel has no %s in its BTF", name, p.SectionName, p.AttachTo)
	}
	return fmt.Errorf("program %s: %s", name, rest)
}

// errnoOf returns the system call's error within err.
func errnoOf(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

func release() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

// summary is the last line of a log, which tells of the verifier's effort.
const summary = "processed "

// refused makes an error of a verifier's log.
func (o *object) refused(name string, err error, ve *ebpf.VerifierError, lines int) error {
	r := &Refused{Program: name, Log: ve.Log, lines: lines}
	said := ve.Log
	if n := len(said); n > 1 && strings.HasPrefix(said[n-1], summary) {
		said = said[:n-1]
	}
	r.Reason = strings.TrimSpace(said[len(said)-1])
	if e := errnoOf(ve.Cause); !errors.Is(e, unix.EINVAL) && !errors.Is(e, unix.EACCES) {
		r.Reason += " (" + e.Error() + ")"
	}
	if strings.Contains(err.Error(), "bad CO-RE relocation") {
		r.Reason = "it uses a field or type that the target's kernel does not have, and does not ask first with bpf_core_field_exists()"
	}
	r.Source = sourceOf(o.spec.Programs[name], ve.Log)
	return r
}

// atInstruction matches the lines of a log that show an instruction.
var atInstruction = regexp.MustCompile(`^(\d+): \(`)

// sourceOf finds the line of source for the last instruction in a log.
func sourceOf(p *ebpf.ProgramSpec, log []string) string {
	for i := len(log) - 1; i >= 0; i-- {
		m := atInstruction.FindStringSubmatch(log[i])
		if m == nil {
			continue
		}
		n, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			return ""
		}
		var last *btf.Line
		for it := p.Instructions.Iterate(); it.Next() && uint64(it.Offset) <= n; {
			if l, ok := it.Ins.Source().(*btf.Line); ok && l.LineNumber() != 0 {
				last = l
			}
		}
		if last == nil {
			return ""
		}
		return fmt.Sprintf("%s:%d: %s", filepath.Base(last.FileName()), last.LineNumber(), strings.TrimSpace(last.Line()))
	}
	return ""
}

// AsRefused returns what the verifier said, if that is what an error is about.
func AsRefused(err error) (*Refused, bool) {
	var r *Refused
	return r, errors.As(err, &r)
}
