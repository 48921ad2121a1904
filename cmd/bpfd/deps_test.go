package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// banned packages would make the daemon large, or let it do what is not its task.
var banned = map[string]string{
	"net":                               "bpfd speaks over its standard input and output, and listens nowhere",
	"crypto/tls":                        "TLS is terminated in another process; it would more than double the daemon",
	"crypto/rand":                       "getrandom(2) does the same without the cryptography that comes with it",
	"encoding/json":                     "the wire has its own encoding; reflection is large",
	"encoding/gob":                      "the wire has its own encoding; reflection is large",
	"text/template":                     "keeps the linker from dropping unused methods",
	"net/rpc":                           "internal/rpc is the host's, the daemon's end is internal/agent",
	"os/exec":                           "bpfd runs nothing on the target",
	"github.com/hanwen/go-fuse/v2/fuse": "the file system is the host's",
	"bpfd/internal/abi":                 "the daemon knows no bpf commands",
	"bpfd/internal/marshal":             "the daemon knows no bpf commands",
	"bpfd/internal/supervisor":          "belongs to the host",
}

// TestImports compares what the daemon links with the list in deps.txt.
func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	cmd.Stderr = os.Stderr
	ours, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(all)) {
		if why, ok := banned[p]; ok {
			t.Errorf("bpfd imports %s: %s", p, why)
		}
	}
	want, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(ours) != string(want) {
		t.Errorf("bpfd links\n%s, deps.txt says\n%s", ours, want)
	}
}
