package wire

import (
	"encoding/binary"
	"errors"
)

var (
	errShort    = errors.New("message ends in the middle of a field")
	errTrailing = errors.New("message goes on after its last field")
	errBool     = errors.New("a boolean is neither 0 nor 1")
	errFlags    = errors.New("unknown flag bits")
)

var le = binary.LittleEndian

// appendBytes appends a length and the bytes.
func appendBytes[T ~[]byte | ~string](b []byte, v T) []byte {
	b = le.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder reads fields off the front of a message. The first error sticks, and
// everything read after it is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

// take returns the next n bytes, which share memory with the message.
func (d *decoder) take(n uint32) []byte {
	if uint64(n) > uint64(len(d.b)) {
		d.fail(errShort)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8 {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if v := d.take(2); v != nil {
		return le.Uint16(v)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.take(4); v != nil {
		return le.Uint32(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.take(8); v != nil {
		return le.Uint64(v)
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.u8()
	if v > 1 {
		d.fail(errBool)
	}
	return v == 1
}

// flags reads a byte of which only the bits of known may be set.
func (d *decoder) flags(known uint8) uint8 {
	v := d.u8()
	if v&^known != 0 {
		d.fail(errFlags)
	}
	return v
}

func (d *decoder) bytes() []byte  { return d.take(d.u32()) }
func (d *decoder) string() string { return string(d.bytes()) }

// count reads the number of elements which follow, each of min bytes at least:
// a hostile count cannot make us allocate more than the message's own size.
func (d *decoder) count(min int) int {
	n := d.u32()
	if uint64(n)*uint64(min) > uint64(len(d.b)) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

// end reports the first error, or that bytes are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = errTrailing
	}
	return d.err
}

var (
	errArgs  = errors.New("more than six arguments")
	errSys   = errors.New("unknown system call number")
	errBuf   = errors.New("a buffer's bytes and its length do not fit")
	errPatch = errors.New("a patch lies outside of what it patches")
)
