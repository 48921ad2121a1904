package procs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/internal/wire"
)

func TestParseStat(t *testing.T) {
	const tail = " S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 10"
	for line, want := range map[string]Process{
		"12 (cat)" + tail:           {PID: 12, PPID: 7, Name: "cat", Started: 4711},
		"12 (a) S (b c)" + tail:     {PID: 12, PPID: 7, Name: "a) S (b c", Started: 4711},
		"12 (short) S 7 1":          {},
		"12 no brackets":            {},
		"12 )backwards(" + tail:     {},
		"12 (no number) S x" + tail: {},
	} {
		p := Process{PID: 12}
		ok := p.parseStat(line)
		if ok != (want.Name != "") || ok && (p.Name != want.Name || p.PPID != want.PPID || p.Started != want.Started) {
			t.Errorf("%q: %v %+v", line, ok, p)
		}
	}
}

func TestCalled(t *testing.T) {
	p := Process{Name: "system_server", Args: []string{"/system/bin/app_process", "x"}}
	for name, want := range map[string]bool{"system_server": true, "app_process": true, "/system/bin/app_process": true, "x": false, "server": false} {
		if p.Called(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if k := (Process{Name: "kthreadd"}); k.Command() != "[kthreadd]" {
		t.Error(k.Command())
	}
}

// local answers from this machine's files.
type local struct{}

func (l *local) NewHandle() wire.Handle { return 1 }

func (l *local) Post(wire.Type, wire.Message) error { return nil }

func (l *local) Do(_ wire.Type, req wire.Message, reply wire.Body) error {
	var m wire.Message
	switch r := req.(type) {
	case *wire.Path:
		dir := &wire.ReadDirReply{}
		entries, _ := os.ReadDir(r.Path)
		for _, e := range entries {
			dir.Entries = append(dir.Entries, wire.Entry{Name: e.Name(), Attr: &wire.Attr{UID: 5}})
		}
		m = dir
	case *wire.Open:
		b, err := os.ReadFile(r.Path)
		if err != nil {
			m = &wire.OpenReply{Errno: 2}
			break
		}
		m = &wire.OpenReply{EOF: true, Bytes: b}
	}
	return reply.Decode(m.Append(nil))
}

func TestList(t *testing.T) {
	// A name with a blank and a bracket, as a program may give itself.
	program := filepath.Join(t.TempDir(), "a b) c")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	list, err := List(&local{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.PID == cmd.Process.Pid {
			if p.Name != "a b) c" || p.PPID != os.Getpid() || p.UID != 5 || !strings.HasSuffix(p.Command(), "a b) c 60") {
				t.Errorf("%+v", p)
			}
			return
		}
	}
	t.Errorf("%d is not among %d processes", cmd.Process.Pid, len(list))
}
