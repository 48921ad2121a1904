package guest

import (
	"strings"
	"testing"

	"bpfd/internal/wire"
)

// However a stream is cut into pieces, each session gets its own bytes, at once.
func TestGreetings(t *testing.T) {
	const m = wire.Magic
	for _, c := range []struct {
		stream string
		want   []string // what sessions get; the first is what nobody asked for
	}{
		{"", []string{""}},
		{"stale", []string{"stale"}},
		{m, []string{"", m}},
		{m + "hello", []string{"", m + "hello"}},
		{"stale" + m + "one" + m + "two", []string{"stale", m + "one", m + "two"}},
		{m + m, []string{"", m, m}},
		{m + "ends like a greeting" + m[:1], []string{"", m + "ends like a greeting" + m[:1]}},
		{m[:3] + m + "x", []string{m[:3], m + "x"}},
	} {
		for size := 1; size <= len(c.stream)+1; size++ {
			var g greetings
			got := []string{""}
			for rest := c.stream; rest != ""; {
				piece := rest[:min(size, len(rest))]
				rest = rest[len(piece):]
				for i, part := range g.split([]byte(piece)) {
					if i > 0 {
						got = append(got, "")
					}
					got[len(got)-1] += string(part)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%q in pieces of %d: %q", c.stream, size, got)
				continue
			}
			for i := range got {
				// The beginning of the next greeting may be at a session's end.
				rest, ok := strings.CutPrefix(got[i], c.want[i])
				if !ok || !strings.HasPrefix(m, rest) || len(rest) == len(m) {
					t.Errorf("%q in pieces of %d: session %d got %q", c.stream, size, i, got[i])
				}
			}
		}
	}
}
