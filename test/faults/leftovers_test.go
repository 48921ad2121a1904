package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

// What a tool has defined in tracefs is gone when bpfctl is, however that ends.
func TestTracefs(t *testing.T) {
	const tracing = "/sys/kernel/tracing"
	if _, err := os.Stat(tracing + "/uprobe_events"); err != nil {
		t.Skip("this machine has no uprobe_events")
	}
	name := fmt.Sprintf("faults%d", os.Getpid())
	cmd := exec.Command(bpfctl, "run", "-t", "shell:", "--", "sh", "-c",
		"echo 'p:"+name+"/e /bin/sh:0x1000' >>"+tracing+"/uprobe_events && mkdir "+tracing+"/instances/"+name+" && exec sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defined := func() bool {
		events, _ := os.ReadFile(tracing + "/uprobe_events")
		return strings.Contains(string(events), name+"/e")
	}
	instance := func() bool { _, err := os.Stat(tracing + "/instances/" + name); return err == nil }
	testenv.Eventually(t, "nothing is defined", func() bool { return defined() && instance() })
	cmd.Process.Kill()
	cmd.Wait()
	testenv.Eventually(t, "what was defined is still there", func() bool { return !defined() && !instance() })
}

// A target's command that keeps its side open after the bpfd has ended holds
// nobody up.
func TestLingeringTarget(t *testing.T) {
	if o := testenv.RunRemote(t, "shell:"+bpfd+"; sleep 1000", "echo", "done"); o != (testenv.Outcome{Stdout: "done\n"}) {
		t.Error(o)
	}
}
