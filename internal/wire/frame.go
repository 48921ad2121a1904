// Package wire defines the frames and messages that bpfctl and bpfd exchange:
// encoding and decoding, nothing else. doc/protocol.md describes the same for
// implementers in other languages.
//
// Integers are little endian. No native struct crosses the wire, except those
// with one layout on every architecture (union bpf_attr, struct
// perf_event_attr, ring buffer records), which are opaque bytes here. Whatever
// decodes encodes to the same bytes again: there is one encoding per message.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the protocol version that this package speaks. A peer of another
// version is refused in the hello.
const Version = 1

// Magic starts every hello. Its first byte is not printable, so that bpfd can
// tell the binary protocol from the text protocol by the first byte it reads:
// frames begin with the low byte of a length, so the first frame of a
// connection is preceded by Magic.
const Magic = "\x01bpfd\r\n\x1a"

const (
	// HeaderSize is the size of an encoded Header.
	HeaderSize = 12
	// MaxBody is the largest body of a frame. The largest thing that must fit
	// in one is a verifier's log, for which libbpf has 16 MiB.
	MaxBody = 17 << 20
)

// ErrTooLong is returned for a frame whose header announces more than MaxBody.
var ErrTooLong = errors.New("frame longer than the protocol allows")

// Type says what the body of a frame is.
type Type uint8

// The types of frames. Requests go from host to target and are answered by a
// TypeReply frame with the same id; id 0 asks for no answer.
const (
	TypeHello Type = iota + 1
	TypeWelcome
	TypeReply
	TypeData      // target to host: stream data; id is the stream
	TypeEnd       // target to host: the stream is over; id is the stream
	TypeAck       // both: how many frames were received, for resume
	TypeCall      // run a system call
	TypeClose     // drop descriptors
	TypeWalk      // iterate over a map
	TypeInfo      // what the target is
	TypeStat      // stat(2) or lstat(2)
	TypeReadlink  // readlink(2)
	TypeReadDir   // list a directory
	TypeOpen      // open(2)
	TypeRead      // read(2) or pread(2)
	TypeWrite     // write(2) or pwrite(2)
	TypePathOp    // unlink(2), mkdir(2) …
	TypeStatfs    // statfs(2)
	TypeStream    // open a stream over a descriptor (ring buffer, process)
	TypeCredit    // let a stream send more
	TypeMemory    // read and write a mapped descriptor (mmapable array)
	TypeTrigger   // run the stand-in function of uprobes on the tool itself
	TypeCancel    // give up a request that waits
	TypeWriteRing // append records to a user ring buffer
	typeEnd
)

// Header precedes every body.
type Header struct {
	Len  uint32 // bytes of body
	Type Type
	ID   uint32 // of the request or stream
}

// PutHeader encodes h into b, which has HeaderSize bytes at least.
func PutHeader(b []byte, h Header) {
	binary.LittleEndian.PutUint32(b, h.Len)
	b[4], b[5], b[6], b[7] = byte(h.Type), 0, 0, 0
	binary.LittleEndian.PutUint32(b[8:], h.ID)
}

// ParseHeader decodes a header and checks that its frame is one we accept.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, errShort
	}
	h := Header{
		Len:  binary.LittleEndian.Uint32(b),
		Type: Type(b[4]),
		ID:   binary.LittleEndian.Uint32(b[8:]),
	}
	switch {
	case b[5] != 0 || b[6] != 0 || b[7] != 0:
		return h, errors.New("reserved bytes of a frame header are not zero")
	case h.Type == 0 || h.Type >= typeEnd:
		return h, fmt.Errorf("unknown frame type %d", h.Type)
	case h.Len > MaxBody:
		return h, ErrTooLong
	}
	return h, nil
}

// Message is a body that can encode itself.
type Message interface {
	// Append appends the encoded message to b.
	Append(b []byte) []byte
}

// AppendFrame appends a whole frame to b.
func AppendFrame(b []byte, t Type, id uint32, m Message) []byte {
	start := len(b)
	b = append(b, make([]byte, HeaderSize)...)
	if m != nil {
		b = m.Append(b)
	}
	PutHeader(b[start:], Header{Len: uint32(len(b) - start - HeaderSize), Type: t, ID: id})
	return b
}

// Body is a message that can be decoded from the body of a frame. Decoded
// slices share memory with what they were decoded from.
type Body interface {
	Decode(b []byte) error
}

// Empty is the body of frames that carry nothing: TypeCancel, TypeInfo.
type Empty struct{}

// Append implements Message.
func (Empty) Append(b []byte) []byte { return b }

// Decode implements Body.
func (Empty) Decode(b []byte) error {
	d := decoder{b: b}
	return d.end()
}
