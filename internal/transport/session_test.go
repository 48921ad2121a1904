package transport

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// talk serves a target that says something and returns what it was sent.
func talk(t *testing.T, said string, o Options) (s *session, sent []byte, err error) {
	t.Helper()
	r, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ours, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		io.WriteString(theirs, said)
		theirs.Close()
	}()
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(ours)
		ours.Close()
		got <- b
	}()
	s = &session{conn: &Conn{R: r, W: w}}
	err = s.serve(o)
	w.Close()
	return s, <-got, err
}

// A target may say anything before the script runs, and nothing that is none of
// the script's words afterwards.
func TestServe(t *testing.T) {
	noisy := strings.Repeat("welcome to the machine\n", maxNoise/10)
	for _, c := range []struct {
		name, said, err string // err: "" for none
		path            string
		files           int
	}{
		{"there", "@bpfd have /tmp/bpfd\n", "", "/tmp/bpfd", 0},
		{"behind a banner", "Welcome\n\n\x1b[1m@bpfd have /tmp/bpfd\n", "", "/tmp/bpfd", 0},
		{"a path with blanks", "@bpfd have /tmp/a b\n", "", "/tmp/a b", 0},
		{"files", "@bpfd file /a\n@bpfd gone /b\n@bpfd have\n", "", "", 2},
		{"a failure", "@bpfd fail arch mips\n", "there is no bpfd for the target's machine type, mips", "", 0},
		{"another word", "@bpfd hello there\n", `the target says "@bpfd hello there"`, "", 0},
		{"a need of nothing", "@bpfd need amd64\n", `the target needs "amd64"`, "", 0},
		{"a need that nobody has", "@bpfd need vax raw /tmp\n", "vax", "", 0},
		{"the end", "Welcome\n", errEnded.Error(), "", 0},
		{"the end in a line", "@bpfd hav", errEnded.Error(), "", 0},
		{"too much", noisy, "prints too much", "", 0},
		{"a line without an end", strings.Repeat("x", 2*maxNoise), "a line without an end", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, err := talk(t, c.said, Options{})
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v; want %q", err, c.err)
			}
			if s.path != c.path || len(s.files) != c.files {
				t.Errorf("path %q, files %q", s.path, s.files)
			}
		})
	}
}

// Who needs a bpfd is sent it, with its size and sum, packed as asked for.
func TestSend(t *testing.T) {
	content := bytes.Repeat([]byte("a daemon"), 20_000)
	path := filepath.Join(t.TempDir(), "bpfd")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BPFD_AGENT", path)
	for _, packing := range []string{"raw", "gzip"} {
		var last Progress
		o := Options{Progress: func(p Progress) {
			if p.Done <= last.Done || p.Done > p.Total {
				t.Errorf("%d of %d bytes after %d", p.Done, p.Total, last.Done)
			}
			last = p
		}}
		_, sent, err := talk(t, "@bpfd need arm64 "+packing+" /data/local/tmp\n@bpfd have /x\n", o)
		if err != nil {
			t.Fatal(err)
		}
		head, payload, _ := bytes.Cut(sent, []byte("\n"))
		if want := fmt.Sprintf("%d %d %x", len(payload), len(content), sha256.Sum256(content)); string(head) != want {
			t.Errorf("%s: announced as %q, want %q", packing, head, want)
		}
		if packing == "raw" && !bytes.Equal(payload, content) || packing == "gzip" && !bytes.HasPrefix(payload, []byte{0x1f, 0x8b}) {
			t.Errorf("%s: % x … was sent", packing, payload[:8])
		}
		if last.Done != len(payload) || last.Arch != "arm64" || last.Dir != "/data/local/tmp" {
			t.Errorf("%s: the last progress is %+v of %d", packing, last, len(payload))
		}
	}
}

// The end names what was last said, by the command or before the script.
func TestEnded(t *testing.T) {
	for _, c := range []struct{ stderr, noise, want string }{
		{"", "", "has ended: boom"},
		{"Permission denied (publickey).\n", "", "Permission denied (publickey)."},
		{"", "This account is not available", "This account is not available"},
		{"first\nlast\n", "noise", "last; noise"},
	} {
		s := &session{conn: &Conn{stderr: &tail{}}, noise: c.noise}
		s.conn.stderr.Write([]byte(c.stderr))
		if got := s.ended(errors.New("boom")).Error(); !strings.HasSuffix(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got := (&session{conn: &Conn{}}).ended(nil).Error(); !strings.Contains(got, "without a word") {
		t.Errorf("%q", got)
	}
}
