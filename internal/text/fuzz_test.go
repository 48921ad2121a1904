package text

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzLine: lines are those between the newlines however they arrive, and what
// is parsed of them is words without blanks and numbers that are in range.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		"", "\n", "  \r\n", "BPF_CREATE_MAP 1 8 40 10240 0\nexit\n", "BPF_PROG_LOAD 2 8 GPL 264721 AAAAAAAAAAA=\r\n",
		"BPF_PROG_LOAD 2 name 8 GPL 264721 AAAAAAAAAAA\nBPF_GET_FIRST_KEY 3 4 8 1", "PERF_READER_POLL -1 3 4 5 6\n\x00\n",
		"BPF_ATTACH_KPROBE 5 0 e f -1 0 -1 0 0 0\n", "BPF_UPDATE_ELEM 3 AA== 1 !!!! 1 18446744073709551615\n", "GET_KSYM_NAME -1\n\x04",
	} {
		f.Add([]byte(s))
	}
	commands := byName()
	mem := make([]byte, 2*readSize)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > readSize {
			return
		}
		in := &input{src: iotest.OneByteReader(bytes.NewReader(b)), mem: mem}
		want := bytes.Split(b, []byte("\n"))
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1]
		}
		for _, w := range want {
			line, err := in.line()
			if err != nil || !bytes.Equal(line, bytes.TrimSuffix(w, []byte("\r"))) {
				t.Fatalf("line %q, %v; want %q", line, err, w)
			}
			parseAny(t, commands, line)
		}
		if line, err := in.line(); err != io.EOF {
			t.Fatalf("line %q, %v at the end", line, err)
		}
	})
}

func parseAny(t *testing.T, commands map[string]*command, line []byte) {
	name, rest := word(line)
	c := commands[string(name)]
	var a args
	if c == nil || c.parse(&a, line, rest) == nil {
		return
	}
	v := c.pick(rest)
	for i, kind := range []byte(v.kinds) {
		w := a.words[i]
		if len(w) == 0 || bytes.ContainsAny(w, " \x00") {
			t.Fatalf("%q: word %d is %q", line, i, w)
		}
		if n := int64(a.nums[i]); kind == kindInt && n != int64(int32(n)) {
			t.Fatalf("%q: number %d is %d", line, i, n)
		}
		if kind == kindBytes {
			if b, err := decode(w); err == nil && len(encode(nil, b)) < len(w) {
				t.Fatalf("%q decodes to %x", w, b)
			}
		}
	}
}
