package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bpfctl runs a command line and returns what it prints, and its error.
func bpfctl(args ...string) (string, error) {
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	err := root.Execute()
	return out.String(), err
}

func TestTargetCommands(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("BPFD_CONFIG", filepath.Join(t.TempDir(), "config.toml"))
	t.Setenv("BPFD_TARGET", "")
	t.Setenv("ANDROID_ADB_SERVER_PORT", "1") // nobody listens there
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line, out, err string
	}{
		{"agent status", "", "which target?"},
		{"target lst", "", "unknown command"},
		{"tls", "Available Commands", ""},
		{"tls --hlep", "", "unknown flag"},
		{"target add pixel adb:R58N12", "", ""},
		{"target add board root@board.local --btf /tmp/board.btf", "", ""},
		{"target add board shell:", "", "is the name of ssh://root@board.local already"},
		{"target add a:b shell:", "", "cannot name a target"},
		{"target add c gopher://x", "", "is no target"},
		{"target use nobody", "", "no target has the name nobody"},
		{"target use pixel", "", ""},
		{"target ls", "board  ssh://root@board.local  \npixel  adb:R58N12              *\n", ""},
		{"target show board", "url: ssh://root@board.local\nbtf: /tmp/board.btf\n", ""},
		{"target show elsewhere", "url: ssh://elsewhere\n", ""},
		{"target add --force board shell:true", "", ""},
		{"target show board", "url: shell:true\n", ""},
		{"agent status -t board", "", "targets of ssh and adb only"},
		{"agent status -t ", "", "-t names no target"}, // and not the default one
		{"target rm pixel", "", ""},
		{"agent status", "", "which target?"},
		{"target add sock unix:./sock", "", ""},
		{"target show sock", "url: unix:" + here + "/sock\n", ""},
		{"target rm sock", "", ""},
		{"target rm pixel", "", "no target has the name pixel"},
		{"__complete run -t ", "board\tshell:true\n", ""},
		{"__complete target rm ", "board\n", ""},
	} {
		out, err := bpfctl(strings.Split(c.line, " ")...)
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v", c.line, err)
		case !strings.Contains(out, c.out):
			t.Errorf("%s: printed %q", c.line, out)
		}
	}
}

// TestBrokenConfig: names cannot be found, but what needs none works.
func TestBrokenConfig(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("ANDROID_ADB_SERVER_PORT", "1") // nobody listens there
	t.Setenv("BPFD_CONFIG", filepath.Join(t.TempDir(), "config.toml"))
	if err := os.WriteFile(os.Getenv("BPFD_CONFIG"), []byte("default = "), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"board", "shell:true", "root@board"} {
		_, err := bpfctl("target", "show", name)
		if broken := err != nil && strings.Contains(err.Error(), "config.toml"); broken != (name == "board") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := bpfctl("target", "add", "board", "shell:"); err == nil {
		t.Error("a broken file was replaced")
	}
}
