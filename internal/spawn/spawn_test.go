package spawn

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is a tool whose init is the test.
func pair(t *testing.T) (tool *Tool, init *channel) {
	t.Helper()
	ours, theirs, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return &Tool{ctl: &channel{f: ours}}, &channel{f: theirs}
}

// A configuration of any length arrives as it was.
func TestConfiguration(t *testing.T) {
	for _, size := range []int{0, 1, piece - 100, piece, 5 * piece} {
		tool, init := pair(t)
		want := Config{Path: "tool", Env: []string{strings.Repeat("x", size)}}
		b, err := json.Marshal(&want)
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- tool.ctl.sendLong(b) }()
		s := &stage{ctl: init}
		if err := s.configure(); err != nil || s.c.Path != "tool" || s.c.Env[0] != want.Env[0] {
			t.Errorf("%d bytes: %v; %d arrived", size, err, len(s.c.Env[0]))
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

// What the init says instead of what it should is an error, and the tool's own
// failure keeps its status.
func TestExpect(t *testing.T) {
	failure, _ := json.Marshal(&Error{Status: 126, Msg: "x: not executable"})
	for _, c := range []struct {
		name   string
		say    func(*channel) error
		status int // of an Error
		text   string
	}{
		{"as expected", func(c *channel) error { return c.send(msgStarted, nil) }, 0, ""},
		{"another message", func(c *channel) error { return c.send(msgMounted, nil) }, 0, "the init sent 'm' instead of 's'"},
		{"a failure", func(c *channel) error { return c.send(msgFailed, failure) }, 126, "x: not executable"},
		{"a failure that is none", func(c *channel) error { return c.send(msgFailed, []byte("{")) }, 0, "unexpected end"},
		{"nothing", func(c *channel) error { return c.f.Close() }, 0, "the tool's init ended early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tool, init := pair(t)
			if err := c.say(init); err != nil {
				t.Fatal(err)
			}
			err := tool.Started()
			if c.text == "" && err != nil || c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("%v", err)
			}
			var own *Error
			if errors.As(err, &own) != (c.status != 0) || own != nil && own.Status != c.status {
				t.Errorf("%#v", err)
			}
		})
	}
}

// The init must hand over the descriptors that it should.
func TestDescriptors(t *testing.T) {
	tool, init := pair(t)
	init.send(msgMounted, nil, 0)
	if err := tool.mount(&Config{}); err == nil || !strings.Contains(err.Error(), "1 descriptors") {
		t.Errorf("mounted: %v", err)
	}
	init.send(msgListener, nil)
	if err := tool.Exec(); err == nil || !strings.Contains(err.Error(), "0 descriptors") {
		t.Errorf("executed: %v", err)
	}
}

func TestEvents(t *testing.T) {
	tool, init := pair(t)
	word := func(v uint32) []byte { return le.AppendUint32(nil, v) }
	init.send(msgSignal, word(uint32(unix.SIGINT)))
	init.send(msgStopped, nil)
	init.send(msgExited, word(3<<8))
	init.send(msgExited, word(uint32(unix.SIGKILL)))
	init.send(msgExited, []byte{1})
	init.f.Close()
	for _, want := range []Event{
		{Signal: syscall.SIGINT}, {Stopped: true}, {Exited: true, Status: 3 << 8}, {Exited: true, Status: syscall.WaitStatus(unix.SIGKILL)},
	} {
		if got, err := tool.Next(); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if _, err := tool.Next(); err == nil || err == io.EOF {
		t.Errorf("a message that is too short: %v", err)
	}
	if _, err := tool.Next(); err != io.EOF {
		t.Errorf("the init is gone: %v", err)
	}
	if err := tool.Signal(unix.SIGINT); err == nil {
		t.Error("a signal was sent to nobody")
	}
	if _, err := tool.Open("/x"); err == nil {
		t.Error("nobody opened a file")
	}
}

// Files are opened by the init, in any order; who waits hears of its end.
func TestOpen(t *testing.T) {
	tool, init := pair(t)
	events := make(chan error, 1)
	go func() {
		_, err := tool.Next()
		events <- err
	}()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stage{ctl: init}
	serving := make(chan struct{}, 1)
	serve := func() {
		defer func() { serving <- struct{}{} }()
		kind, body, _, err := init.receive()
		if err != nil || kind != msgOpen {
			t.Errorf("%q, %v", kind, err)
			return
		}
		s.open(le.Uint32(body), string(body[4:]))
	}
	go serve()
	fd, err := tool.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	<-serving
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, []byte("content")) {
		t.Errorf("%q, %v", b, err)
	}
	go serve()
	if _, err := tool.Open(path + "/none"); err != unix.ENOTDIR {
		t.Errorf("no such file: %v", err)
	}
	<-serving
	go func() {
		init.receive()
		init.f.Close()
	}()
	if _, err := tool.Open(path); err != errGone {
		t.Errorf("while the init ended: %v", err)
	}
	if err := <-events; err != io.EOF {
		t.Errorf("%v", err)
	}
	if _, err := tool.Open(path); err != errGone {
		t.Errorf("after the init has ended: %v", err)
	}
}

// A tool that is not found, or no program, has the status that a shell gives.
func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	for name, perm := range map[string]os.FileMode{"program": 0o755, "text": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), perm); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	for _, c := range []struct {
		name   string
		status int
		text   string
	}{
		{"program", 0, ""}, {dir + "/program", 0, ""},
		{"none", 127, "none: not found; is it installed on this host? (PATH is " + dir + ")"},
		{"text", 127, "text: not found; is it installed on this host? (PATH is " + dir + ")"},
		{dir + "/text", 126, dir + "/text: not executable"},
		{dir + "/none", 127, dir + "/none: no such file"},
		{dir, 126, dir + ": not executable"},
	} {
		path, err := lookPath(c.name)
		var e *Error
		switch {
		case c.status == 0 && (err != nil || path != dir+"/program"):
			t.Errorf("%s: %s, %v", c.name, path, err)
		case c.status != 0 && (!errors.As(err, &e) || e.Status != c.status || e.Msg != c.text):
			t.Errorf("%s: %#v", c.name, err)
		}
	}
}

// Failures between fork and exec name the step; those of exec itself are the tool's.
func TestExplainStep(t *testing.T) {
	for _, c := range []struct {
		step   uint32
		errno  unix.Errno
		status int
		text   string
	}{
		{stepExec, unix.ENOENT, 127, "x: its interpreter is not there"},
		{stepExec, unix.EACCES, 126, "x: permission denied"},
		{stepExec, unix.ENOEXEC, 126, "x: exec format error"},
		{stepFilter, unix.EBUSY, 0, "bpfctl cannot run inside of it"},
		{stepFilter, unix.EINVAL, 0, "cannot install the seccomp filter: invalid argument"},
		{stepTerminal, unix.ENOTTY, 0, "cannot take the terminal: inappropriate ioctl for device"},
	} {
		err := explainStep("x", c.step, c.errno)
		var e *Error
		if own := errors.As(err, &e); own != (c.status != 0) || own && e.Status != c.status || !strings.Contains(err.Error(), c.text) {
			t.Errorf("step %d, %v: %#v", c.step, c.errno, err)
		}
	}
}

// time_namespaces(7) wants nanoseconds that are not negative.
func TestOffset(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "1 0 0\n", 1: "1 0 1\n", 1e9: "1 1 0\n", -1: "1 -1 999999999\n", -1e9: "1 -1 0\n", -15e8: "1 -2 500000000\n",
	} {
		if got := offset(unix.CLOCK_MONOTONIC, ns); got != want {
			t.Errorf("%d: %q, want %q", ns, got, want)
		}
	}
}
