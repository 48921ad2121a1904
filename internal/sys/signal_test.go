package sys

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ending tells this test's own program to be ended by a signal; its value is how
// long it takes until all is put away.
const ending = "BPFD_TEST_ENDING"

func TestMain(m *testing.M) {
	if long, err := time.ParseDuration(os.Getenv(ending)); err == nil {
		OnSignal(func() { time.Sleep(long); fmt.Println("put away") })
		fmt.Println("ready")
		select {}
	}
	os.Exit(m.Run())
}

// A signal that comes twice, as that of a parent's death does, leaves the time
// to put everything away; one that comes later does not wait for what hangs.
func TestOnSignal(t *testing.T) {
	// What nohup ignores, the programs that are started here would ignore too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	for _, c := range []struct {
		name, takes string
		pause       time.Duration
		want        string
	}{
		{"once", "0s", 0, "ready\nput away\n"},
		{"twice at once", "300ms", 10 * time.Millisecond, "ready\nput away\n"},
		{"insisting", "1h", insist + 200*time.Millisecond, "ready\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), ending+"="+c.takes)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
			defer kill.Stop()
			var said strings.Builder
			b := make([]byte, 64)
			for n, err := 0, error(nil); err == nil; n, err = out.Read(b) {
				said.Write(b[:n])
				if said.String() == "ready\n" && n > 0 {
					cmd.Process.Signal(unix.SIGHUP)
					if c.pause > 0 {
						time.Sleep(c.pause)
						cmd.Process.Signal(unix.SIGHUP)
					}
				}
			}
			cmd.Wait()
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if said.String() != c.want || status.Signal() != unix.SIGHUP {
				t.Errorf("%q, %v; want %q and the signal", said.String(), cmd.ProcessState, c.want)
			}
		})
	}
}
