package marshal

import (
	"fmt"
	"strings"

	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// Format prints a call and its result on one line, from the rows that it was
// marshalled by: descriptors as @N, by their names on the target, memory by its
// length, strings as such. Fields which are 0 are left out.
func Format(r *Request, val int64, errno unix.Errno) string {
	var b strings.Builder
	b.WriteString(r.Name)
	b.WriteByte('(')
	sep := ""
	add := func(text string) {
		b.WriteString(sep)
		b.WriteString(text)
		sep = ", "
	}
	if r.fields != nil {
		formatFields(r, add)
	}
	for i := r.first; i < len(r.Call.Args); i++ {
		if r.Call.Sys != wire.SysIoctl || i != 1 { // the name says it
			add(formatArg(r, i))
		}
	}
	b.WriteString(") = ")
	switch {
	case errno != 0:
		b.WriteString("-1 " + errnoName(errno))
	case r.Result != nil:
		fmt.Fprintf(&b, "@%d", r.Result.Handle)
	default:
		fmt.Fprintf(&b, "%d", val)
	}
	return b.String()
}

func errnoName(e unix.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprint(uint32(e))
}

// formatFields prints the fields of the first buffer.
func formatFields(r *Request, add func(string)) {
	data := r.Call.Bufs[attrBuf].In
	for i := range r.fields {
		f := &r.fields[i]
		if int(f.Off)+int(f.Size) > len(data) {
			break
		}
		if text := formatField(r, f, data[f.Off:int(f.Off)+int(f.Size)]); text != "" {
			add(f.Name + "=" + text)
		}
	}
}

// patched prints what stands at a place of a buffer, or as an argument.
func patched(r *Request, buf uint16, off uint32) (string, bool) {
	for _, p := range r.Call.Patches {
		if p.Buf != buf || p.Off != off {
			continue
		}
		if p.Kind == wire.PatchFD {
			return fmt.Sprintf("@%d", p.Ref), true
		}
		b := &r.Call.Bufs[p.Ref]
		if r.strings[int(p.Ref)] {
			return fmt.Sprintf("%.128q", b.In), true
		}
		return fmt.Sprintf("[%d]", b.Len), true
	}
	return "", false
}

func formatArg(r *Request, i int) string {
	if text, ok := patched(r, wire.PatchArg, uint32(i)); ok {
		return text
	}
	if a := r.Call.Args[i]; int64(a) > -4096 && int64(int32(a)) == int64(a) {
		return fmt.Sprint(int32(a))
	}
	if a := r.Call.Args[i]; a>>32 == 0 && int32(a) < 0 && int32(a) > -4096 {
		return fmt.Sprint(int32(a))
	}
	return fmt.Sprintf("%#x", r.Call.Args[i])
}

func formatField(r *Request, f *abi.Field, raw []byte) string {
	if text, ok := patched(r, attrBuf, uint32(f.Off)); ok {
		return text
	}
	var v uint64
	switch f.Size {
	case 4:
		v = uint64(le.Uint32(raw))
		if f.Kind == abi.FD && int32(v) < 0 {
			return fmt.Sprint(int32(v))
		}
	case 8:
		v = le.Uint64(raw)
	case 16:
		if name := unix.ByteSliceToString(raw); name != "" {
			return fmt.Sprintf("%q", name)
		}
	}
	switch {
	case v == 0:
		return ""
	case f.Kind == abi.FD && v == badFD:
		return "?" // none of the target's
	case v >= 1<<24:
		return fmt.Sprintf("%#x", v)
	}
	return fmt.Sprint(v)
}

// Named is a call that takes numbers, for Format: it is not sent.
func Named(name string, args ...uint64) *Request {
	return &Request{Name: name, Call: wire.Call{Args: args}}
}

// Mmap is mmap(2) of an object, for Format: it is not sent.
func Mmap(o *Object, args [6]uint64) *Request {
	r := Named("mmap", args[:]...)
	r.Call.Patches = []wire.Patch{{Kind: wire.PatchFD, Buf: wire.PatchArg, Off: 4, Ref: uint32(o.Handle)}}
	return r
}

// Refused is a call of bpf(2) that was not marshalled, for Format.
func Refused(cmd uint32) *Request {
	if cmd < uint32(len(abi.Commands)) {
		return Named(abi.Commands[cmd].Name)
	}
	return Named("bpf", uint64(cmd))
}
