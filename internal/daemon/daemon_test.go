package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What is packed is what comes out again, and its name is that of its content.
func TestPack(t *testing.T) {
	content := bytes.Repeat([]byte("a daemon "), 1000)
	plain := Program{content: content}
	packed := Program{content: plain.Pack(), packed: true}
	if len(packed.content) >= len(content) {
		t.Errorf("packed it has %d of %d bytes", len(packed.content), len(content))
	}
	for name, p := range map[string]Program{"plain": plain, "packed": packed} {
		if b, err := p.Unpack(); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if !bytes.Equal(packed.Pack(), packed.content) {
		t.Error("what is packed is packed again")
	}
	if plain.Name() == packed.Name() || plain.Name() != (Program{content: content}).Name() || !strings.HasPrefix(plain.Name(), "bpfd-") {
		t.Errorf("names: %s, %s", plain.Name(), packed.Name())
	}
}

// What is damaged is not taken for a program.
func TestDamaged(t *testing.T) {
	whole := Program{content: []byte("content")}.Pack()
	for name, content := range map[string][]byte{"nothing": nil, "no gzip": []byte("\x7fELF"), "cut": whole[:len(whole)-4], "changed": append(whole[:len(whole)-8:len(whole)-8], 1, 2, 3, 4, 5, 6, 7, 8)} {
		if b, err := (Program{content: content, packed: true}).Unpack(); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
}

func TestFind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BPFD_AGENT", path)
	if p, err := Find("any"); err != nil || string(p.content) != "mine" || p.packed {
		t.Errorf("%q, %v", p.content, err)
	}
	t.Setenv("BPFD_AGENT", path+"/none")
	if _, err := Find("any"); err == nil {
		t.Error("a file that is not there was found")
	}
	t.Setenv("BPFD_AGENT", "")
	if _, err := Find("vax"); err == nil || !strings.Contains(err.Error(), "without a bpfd for vax") {
		t.Errorf("%v", err)
	}
}

// The daemon is installed once, and again if what is there cannot be executed.
func TestInstall(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(agent, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BPFD_AGENT", agent)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path, err := Install()
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"nothing":        func() error { return nil },
		"removed":        func() error { return os.Remove(path) },
		"not executable": func() error { return os.Chmod(path, 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		again, err := Install()
		b, readErr := os.ReadFile(again)
		st, statErr := os.Stat(again)
		if err != nil || again != path || readErr != nil || string(b) != "mine" || statErr != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %s, %q, %v, %v, %v, %v", name, again, b, st.Mode(), err, readErr, statErr)
		}
	}
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(filepath.Dir(path)), nil, 0o600); err != nil { // where a directory must be
		t.Fatal(err)
	}
	if _, err := Install(); err == nil || !strings.Contains(err.Error(), "bpfd") {
		t.Errorf("no place for it: %v", err)
	}
}

// A bpfctl that make has built holds a daemon for each kind of target.
func TestEmbedded(t *testing.T) {
	packed, err := bin.ReadDir("bin")
	if err != nil || len(packed) < 2 {
		t.Skip("make has not built the daemons")
	}
	t.Setenv("BPFD_AGENT", "")
	for _, arch := range []string{"amd64", "arm64", "arm", "riscv64", runtime.GOARCH} {
		p, err := Find(arch)
		if err != nil {
			t.Errorf("%s: %v", arch, err)
			continue
		}
		if b, err := p.Unpack(); err != nil || !bytes.HasPrefix(b, []byte("\x7fELF")) {
			t.Errorf("%s: %.4q, %v", arch, b, err)
		}
	}
}
