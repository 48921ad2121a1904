// Package load compiles BPF objects with clang and has bpfctl load them, list
// them and remove them.
package load

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"
)

var bpfctl, bpfd = testenv.Bin("bpfctl"), testenv.Bin("bpfd")

const bpffs = "/sys/fs/bpf"

func TestMain(m *testing.M) {
	for _, tool := range []string{"clang", "bpftool"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Exit("these tests need %s, which test/install installs", tool)
		}
	}
	testenv.Main(m, "bpfctl", "bpfd")
}

// compile makes an object of testdata/NAME.bpf.c.
func compile(t *testing.T, name string, flags ...string) string {
	t.Helper()
	return compileFile(t, filepath.Join("testdata", name+".bpf.c"), flags...)
}

func compileFile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c")+".o")
	args := append([]string{"-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-Wno-unused-command-line-argument", "-mcpu=v2", "-c", source, "-o", out}, flags...)
	for _, dir := range []string{"x86_64", "aarch64"} { // of asm/types.h
		args = append(args, "-idirafter", "/usr/include/"+dir+"-linux-gnu")
	}
	if msg, err := exec.Command("clang", args...).CombinedOutput(); err != nil {
		t.Fatalf("clang: %v\n%s", err, msg)
	}
	return out
}

// run runs bpfctl against this machine.
func run(t *testing.T, args ...string) testenv.Outcome {
	t.Helper()
	return runAt(t, "shell:", args...)
}

func runAt(t *testing.T, target string, args ...string) testenv.Outcome {
	t.Helper()
	return testenv.RunEnv(t, []string{"BPFD_TARGET=" + target}, append([]string{bpfctl}, args...)...)
}

// must runs bpfctl against this machine, which must succeed.
func must(t *testing.T, args ...string) testenv.Outcome {
	t.Helper()
	return mustAt(t, "shell:", args...)
}

func mustAt(t *testing.T, target string, args ...string) testenv.Outcome {
	t.Helper()
	return testenv.Must(t, runAt(t, target, args...))
}

// pinDir is a directory to pin into that is unloaded, whatever happens.
func pinDir(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("test_%d_%s", os.Getpid(), strings.ToLower(filepath.Base(t.Name())))
	t.Cleanup(func() { os.RemoveAll(filepath.Join(bpffs, name)) })
	return name
}

// session is a load without a pin, while it runs.
type session struct {
	cmd       *exec.Cmd
	out, errs testenv.Buffer
}

// start runs a load until it says that everything is attached.
func start(t *testing.T, args ...string) *session {
	t.Helper()
	return startAt(t, "shell:", args...)
}

func startAt(t *testing.T, target string, args ...string) *session {
	t.Helper()
	s := &session{cmd: exec.Command(bpfctl, append([]string{"load", "-t", target}, args...)...)}
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.errs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	testenv.Eventually(t, "it is not loaded", func() bool { return strings.Contains(s.errs.String(), "loaded until Ctrl-C") }, &s.errs)
	return s
}

// stop interrupts it, and expects that it ends well.
func (s *session) stop(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGINT)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.errs.String())
	}
}

// provoke makes the call that testdata's programs trace
// until it is stopped.
func provoke(t *testing.T) func() {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				syscall.Getpgid(0)
			}
		}
	}()
	return func() { close(stop); <-done }
}

// Globals of all types are set, records of ring and perf buffers are decoded.
func TestEventsJSON(t *testing.T) {
	o := compile(t, "events")
	s := start(t, o, "--json", "--set", "label=hello", "--set", "kind=KIND_OPEN", "--set", "negative=-5", "--set", "flag=true",
		"--set", "numbers=1,2,3", "--set", fmt.Sprintf("wanted_pid=%d", os.Getpid()), "--event", "perf=sample")
	defer provoke(t)()
	want := []string{
		fmt.Sprintf(`{"map":"ring","event":{"pid":%d,"kind":"KIND_OPEN","comm":"hello","negative":-5,"flag":true,"bytes":[1,2,255],"low":5,"high":17,"word":4662,"half":4662}}`, os.Getpid()),
		fmt.Sprintf(`"event":{"pid":%d,"number":42}}`, os.Getpid()),
	}
	for _, w := range want {
		testenv.Eventually(t, "no record is "+w, func() bool { return strings.Contains(s.out.String(), w) }, &s.out)
	}
	s.stop(t)
	for line := range strings.Lines(s.out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("this is no JSON: %q", line)
		}
	}
}

func TestEventsText(t *testing.T) {
	s := start(t, compile(t, "events"), "--set", fmt.Sprintf("wanted_pid=%d", os.Getpid()), "--set", "label=visible")
	defer provoke(t)()
	for _, w := range []string{"ring: 48 bytes\n  00000000  ", "visible.|", "perf: 12 bytes, CPU "} {
		testenv.Eventually(t, "nothing printed is "+w, func() bool { return strings.Contains(s.out.String(), w) }, &s.out)
	}
	s.stop(t)
}

// listing is what ls --json prints, as far as the tests look at it.
type listing struct {
	Programs, Maps, Links []struct {
		ID        int
		Type      string
		Name      string
		Program   int
		Where     string
		Pins      []string
		Processes []struct {
			PID  int
			Name string
		}
	}
}

func ls(t *testing.T) listing {
	t.Helper()
	var l listing
	if err := json.Unmarshal([]byte(must(t, "ls", "--json").Stdout), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// What is pinned lives on, is listed, and is removed, and nothing else is.
func TestPin(t *testing.T) {
	o, dir := compile(t, "events"), pinDir(t)
	r := must(t, "load", o, "--pin", dir, "--attach")
	files := []string{"links/on_getpgid", "maps/_bss", "maps/_rodata", "maps/perf", "maps/ring", "progs/on_getpgid"}
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(bpffs, dir, f)); err != nil || !strings.Contains(r.Stdout, "pinned "+bpffs+"/"+dir+"/"+f+"\n") {
			t.Errorf("%s: %v\n%v", f, err, r)
		}
	}
	l := ls(t)
	prog := 0
	for _, p := range l.Programs {
		if len(p.Pins) == 1 && p.Pins[0] == filepath.Join(bpffs, dir, "progs/on_getpgid") && p.Type == "tracepoint" {
			prog = p.ID
		}
	}
	if prog == 0 {
		t.Errorf("ls does not show the program: %+v", l.Programs)
	}
	linked := false
	for _, k := range l.Links {
		linked = linked || k.Program == prog && len(k.Pins) == 1 && strings.Contains(k.Where, "sys_enter_getpgid")
	}
	if !linked {
		t.Errorf("ls does not show the link: %+v", l.Links)
	}
	r = must(t, "unload", dir)
	for _, f := range files {
		if !strings.Contains(r.Stdout, "removed "+bpffs+"/"+dir+"/"+f+"\n") {
			t.Errorf("%s is not reported\n%v", f, r)
		}
	}
	if _, err := os.Stat(filepath.Join(bpffs, dir)); !os.IsNotExist(err) || r.Stderr != "" {
		t.Errorf("the directory is still there, or something was complained about: %v", r)
	}
	for _, p := range ls(t).Programs {
		if p.ID == prog {
			t.Error("the program is still loaded")
		}
	}
}

// ls shows processes that hold objects, and unload what keeps an object.
func TestInUse(t *testing.T) {
	o, dir := compile(t, "events"), pinDir(t)
	must(t, "load", o, "--pin", dir)
	other := filepath.Join(bpffs, dir+"_other")
	defer os.Remove(other)
	if out, err := exec.Command("bpftool", "map", "pin", "pinned", filepath.Join(bpffs, dir, "maps/ring"), other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := start(t, o, "--map", "ring="+dir+"/maps/ring")
	held := false
	for _, m := range ls(t).Maps {
		for _, p := range m.Pins {
			held = held || p == other && len(m.Processes) == 1 && strings.HasPrefix(m.Processes[0].Name, "bpfd")
		}
	}
	if !held {
		t.Error("ls does not show the process that holds the map")
	}
	foreign := filepath.Join(bpffs, dir, "foreign")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	r := run(t, "unload", dir)
	for _, w := range []string{"map ring (id ", "is still in use", "pin " + other, "bpfd", "program ", foreign + " is left on the target"} {
		if !strings.Contains(r.Stderr, w) {
			t.Errorf("nothing says %q\n%v", w, r)
		}
	}
	if r.Status != 1 {
		t.Errorf("status %d", r.Status)
	}
	s.stop(t)
	os.Remove(foreign)
	must(t, "unload", dir)
}
