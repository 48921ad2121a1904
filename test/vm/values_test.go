package vm_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

// Arguments and results that tools read on an arm64 target are those of the
// workload; what would read the registers of this machine is refused.
func TestValues(t *testing.T) {
	row, err := vm.RowOf("6.1-arm64")
	if err != nil {
		t.Fatal(err)
	}
	testenv.Need(t, "trace-bpfcc", "bpftrace", "apt-get")
	if row.Arch == runtime.GOARCH {
		t.Skip("this machine has the target's architecture")
	}
	v := vm.Start(t, row.Name, vm.WithLoad())
	testenv.Must(t, testenv.Run(t, bpfctl, "headers", "-t", v.TargetTCP(), "--fetch"))
	load := ""
	eventually(t, func() (string, error) {
		r, err := v.Run(t.Context(), "pidof cppload")
		load = strings.TrimSpace(r.Stdout)
		return strings.Trim(load, "0123456789"), err
	}, "")
	program := "/proc/" + load + "/root/bin/cppload"
	t.Run("bcc", func(t *testing.T) {
		until(t, v.TargetTCP(), []string{"trace-bpfcc",
			program + `:known_function "in %d", arg1`,
			"r:" + program + `:known_function "out %d", retval`,
			`do_sys_openat2 "file %s", arg2`,
		}, `cppload +known_function +in 99$`, `cppload +known_function +out 100$`, `cppload +do_sys_openat2 +file /etc/hostname$`)
	})
	t.Run("bpftrace", func(t *testing.T) {
		until(t, v.TargetTCP(), []string{"bpftrace", "-e", `kprobe:do_sys_openat2 { @[arg1] = count(); }`},
			`warning: the tool reads the register \w+ of \w+, and the target is arm64: its program was refused`)
	})
}

// until runs a tool until its output has matched all expressions, and then
// interrupts it.
func until(t *testing.T, target string, args []string, exprs ...string) {
	t.Helper()
	untilWith(t, []string{"-t", target}, args, exprs...)
}

// untilWith is until with flags of bpfctl run.
func untilWith(t *testing.T, flags, args []string, exprs ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bpfctl, append(append([]string{"run"}, flags...), append([]string{"--"}, args...)...)...)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		w.Close()
	}()
	missing := map[string]bool{}
	for _, e := range exprs {
		missing[e] = true
	}
	var said strings.Builder
	for s := bufio.NewScanner(r); s.Scan(); {
		said.WriteString(s.Text() + "\n")
		for e := range missing {
			if regexp.MustCompile(e).MatchString(s.Text()) {
				delete(missing, e)
			}
		}
		if len(missing) == 0 {
			cancel()
		}
	}
	for e := range missing {
		t.Errorf("nothing matches %q: %s", e, said.String())
	}
}
