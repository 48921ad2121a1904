package vm_test

import (
	"os"
	"os/exec"
	"testing"

	"bpfd/test/testenv"
	"bpfd/test/vm"
)

var bpfctl = testenv.Bin("bpfctl")

func TestMain(m *testing.M) {
	testenv.Built("bpfctl")
	os.Exit(m.Run())
}

// remote runs a tool against a target and returns what it printed.
func remote(t *testing.T, target string, args ...string) string {
	t.Helper()
	return testenv.Must(t, testenv.RunRemote(t, target, args...)).Stdout
}

// Each kernel boots, and its bpfd answers over both ways, again after a session
// that was cut.
func TestBoot(t *testing.T) {
	for _, row := range vm.Rows {
		t.Run(row.Name, func(t *testing.T) {
			v := vm.Start(t, row.Name)
			r, err := v.Run(t.Context(), "uname -r; echo said >&2; exit 3")
			if err != nil || r != (testenv.Outcome{Stdout: v.Release + "\n", Stderr: "said\n", Status: 3}) {
				t.Errorf("a command in the guest: %v: %v", err, r)
			}
			for _, target := range []string{v.Target(), v.TargetTCP()} {
				if got := remote(t, target, "uname", "-r"); got != v.Release+"\n" {
					t.Errorf("uname through %s says %q", target, got)
				}
				remote(t, target, "bpftool", "prog", "list")
			}
			cut(t, v.Target())
			remote(t, v.Target(), "bpftool", "map", "list")
		})
	}
}

// cut kills a bpfctl in the middle of its session.
func cut(t *testing.T, target string) {
	t.Helper()
	line := testenv.Remote(target, "sh", "-c", "echo begun; exec sleep 1000")
	cmd := exec.Command(line[0], line[1:]...)
	out := testenv.Output(t, cmd)
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
}
