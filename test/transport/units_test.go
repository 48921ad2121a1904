package transport

import (
	"os/exec"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

// systemd understands the units.
func TestUnits(t *testing.T) {
	const program = "/usr/bin/systemd-analyze"
	testenv.Need(t, program)
	out, _ := exec.Command(program, "verify", "--man=no",
		"../../systemd/bpfd.socket", "../../systemd/bpfd@.service", "../../systemd/bpfd-tls.service").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// The programs are not installed, and systemd does not run, where this is tested.
		if strings.Contains(line, "is not executable: No such file") || !strings.Contains(line, "bpfd") {
			continue
		}
		t.Errorf("systemd-analyze: %s", line)
	}
}
