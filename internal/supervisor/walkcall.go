package supervisor

// walkAttr is how many bytes of union bpf_attr the commands use that concern a
// walk.
const walkAttr = 56

// walkCall reads the calls that a walk may serve from the tool's memory. A tool
// in a loop keeps its key in the same place, so the key is read together with
// the call, from where it was the last time: access to another process's memory
// is what such a call's time is spent on.
type walkCall struct {
	buf     [walkAttr]byte
	attr    []byte // as much of union bpf_attr as the tool gave
	last    *lastKey
	fetched bool                // last.bytes are of this call
	keys    map[uint32]*lastKey // by command
}

// lastKey is where the key of the last call with a command was.
type lastKey struct {
	addr  uint64
	bytes []byte
}

// Offsets in union bpf_attr of commands on elements.
const (
	elemKey    = 8
	elemResult = 16 // value or next_key
	elemFlags  = 24
)

func (c *walkCall) keyAt() uint64    { return le.Uint64(c.attr[elemKey:]) }
func (c *walkCall) resultAt() uint64 { return le.Uint64(c.attr[elemResult:]) }
func (c *walkCall) flags() uint64    { return le.Uint64(c.attr[elemFlags:]) }

// read reads a call; it says whether it can be read.
func (c *walkCall) read(r *request, cmd uint32) bool {
	if c.keys == nil {
		c.keys = make(map[uint32]*lastKey)
	}
	if c.last = c.keys[cmd]; c.last == nil {
		c.last = &lastKey{}
		c.keys[cmd] = c.last
	}
	c.attr = c.buf[:min(r.Args[2], walkAttr)]
	var err error
	c.fetched, err = r.thread.ReadBoth(r.Args[1], c.attr, c.last.addr, c.last.bytes)
	return err == nil
}

// key returns the call's key, nil if there is none that can be read. It is valid
// until the next call is read.
func (c *walkCall) key(r *request, o *object) []byte {
	k, at, size := c.last, c.keyAt(), int(o.Map.KeySize)
	if c.fetched && k.addr == at && len(k.bytes) == size {
		return k.bytes
	}
	if len(k.bytes) != size {
		k.bytes = make([]byte, size)
	}
	k.addr = at
	if at == 0 || r.thread.ReadAt(at, k.bytes) != nil {
		k.addr, k.bytes = 0, nil
		return nil
	}
	return k.bytes
}
