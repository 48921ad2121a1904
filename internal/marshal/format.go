package marshal

import (
	"fmt"
	"strings"

	"bpfd/internal/abi"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// Format prints a call and its result on one line, from the rows that it was
// marshalled by.
func Format(r *Request, val int64, errno unix.Errno) string {
	var b strings.Builder
	b.WriteString(r.Name)
	b.WriteByte('(')
	if r.Call.Sys == wire.SysBPF {
		formatFields(&b, r, abi.Commands[r.Call.Args[0]].Fields)
	} else {
		for i, a := range r.Call.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%#x", a)
		}
	}
	b.WriteString(") = ")
	switch {
	case errno != 0:
		fmt.Fprintf(&b, "-1 %s", unix.ErrnoName(errno))
	case r.Result != nil:
		fmt.Fprintf(&b, "@%d", r.Result.Handle)
	default:
		fmt.Fprintf(&b, "%d", val)
	}
	return b.String()
}

// formatFields prints the fields that are not zero: descriptors as @N, by their
// names on the target, memory by its length, strings as such.
func formatFields(b *strings.Builder, r *Request, fields []abi.Field) {
	attr := r.Call.Bufs[attrBuf].In
	sep := ""
	for _, f := range fields {
		if int(f.Off)+int(f.Size) > len(attr) {
			break
		}
		text := formatField(r, &f, attr[f.Off:int(f.Off)+int(f.Size)])
		if text != "" {
			fmt.Fprintf(b, "%s%s=%s", sep, f.Name, text)
			sep = ", "
		}
	}
}

func formatField(r *Request, f *abi.Field, raw []byte) string {
	for _, p := range r.Call.Patches {
		if p.Buf != attrBuf || p.Off != uint32(f.Off) {
			continue
		}
		if p.Kind == wire.PatchFD {
			return fmt.Sprintf("@%d", p.Ref)
		}
		buf := r.Call.Bufs[p.Ref]
		if f.Kind == abi.Str {
			return fmt.Sprintf("%q", buf.In)
		}
		return fmt.Sprintf("[%d]", buf.Len)
	}
	var v uint64
	switch f.Size {
	case 4:
		v = uint64(le.Uint32(raw))
	case 8:
		v = le.Uint64(raw)
	case 16:
		if name := unix.ByteSliceToString(raw); name != "" {
			return fmt.Sprintf("%q", name)
		}
	}
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%d", v)
}

// Mmap is mmap(2) of an object, for Format: it is not sent.
func Mmap(o *Object, args [6]uint64) *Request {
	return &Request{Name: "mmap", Object: o, Call: wire.Call{Sys: sysMmap, Args: args[:],
		Patches: []wire.Patch{{Kind: wire.PatchFD, Buf: wire.PatchArg, Off: 4, Ref: uint32(o.Handle)}}}}
}

// sysMmap is none of the calls that a target is asked for.
const sysMmap = 0
