package spawn

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// scene names what TestMain does instead of tests: in a process of its own,
// with another terminal and other signals.
const scene = "SPAWN_TEST_SCENE"

var scenes = map[string]func() error{"terminal": lendTerminal, "pipe": onPipe, "signals": reportSignals}

func TestMain(m *testing.M) {
	name := os.Getenv(scene)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := scenes[name](); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// lendTerminal gives the terminal to another process group and takes it back.
func lendTerminal() error {
	if !inForeground() {
		return fmt.Errorf("the leader of the session is not in the foreground")
	}
	other := exec.Command("sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := other.Start(); err != nil {
		return err
	}
	defer other.Wait()
	defer other.Process.Kill()
	giveTerminal(other.Process.Pid)
	if pgrp, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err != nil || pgrp != other.Process.Pid || inForeground() {
		return fmt.Errorf("the group in the foreground is %d, not %d: %v", pgrp, other.Process.Pid, err)
	}
	takeTerminal() // from the background, which stops a process that does not know how
	if !inForeground() {
		return fmt.Errorf("the terminal was not taken back")
	}
	return nil
}

// onPipe has no terminal.
func onPipe() error {
	takeTerminal()
	if inForeground() {
		return fmt.Errorf("a pipe is taken for a terminal")
	}
	return nil
}

// play runs a scene and returns what it says. start starts it, with a reader
// of what it says.
func play(t *testing.T, name string, start func(*exec.Cmd) (io.ReadCloser, error), before ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(before, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), scene+"="+name)
	out, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	said, _ := io.ReadAll(out) // a terminal that nobody has is an error
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v: %s", name, err, said)
	}
	return string(said)
}

func onTerminal(cmd *exec.Cmd) (io.ReadCloser, error) { return pty.Start(cmd) }

func onPipes(cmd *exec.Cmd) (io.ReadCloser, error) {
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return out, cmd.Start()
}

func TestTerminal(t *testing.T) {
	play(t, "terminal", onTerminal)
	play(t, "pipe", onPipes)
}

// passedOn are the signals of Notify.
var passedOn = []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}

// reportSignals sends itself the signals and says which are reported.
func reportSignals() error {
	got := make(chan os.Signal, 16)
	Notify(got)
	reported, expected := make(map[os.Signal]bool), 0
	for _, sig := range passedOn {
		if !signal.Ignored(sig) {
			expected++
		}
		unix.Kill(unix.Getpid(), sig)
	}
	for len(reported) < expected {
		reported[<-got] = true
	}
	time.Sleep(50 * time.Millisecond) // for one too many
	for len(got) > 0 {
		reported[<-got] = true
	}
	for _, sig := range passedOn {
		fmt.Printf("%v %v; ", int(sig), reported[sig])
	}
	return nil
}

// SIGHUP and SIGINT stay ignored if they were.
func TestNotify(t *testing.T) {
	for ignored, want := range map[string]string{
		"PIPE":    "1 true; 2 true; 3 true; 15 true; ",
		"HUP":     "1 false; 2 true; 3 true; 15 true; ",
		"INT":     "1 true; 2 false; 3 true; 15 true; ",
		"HUP,INT": "1 false; 2 false; 3 true; 15 true; ",
	} {
		said := play(t, "signals", onPipes, "env", "--default-signal=HUP,INT,QUIT,TERM", "--ignore-signal="+ignored)
		if said != want {
			t.Errorf("with %s ignored: %q, want %q", ignored, said, want)
		}
	}
}
