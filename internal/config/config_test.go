package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	t.Setenv("BPFD_CONFIG", path)
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestSaveLoad(t *testing.T) {
	write(t, "")
	c, err := Load()
	if err != nil || len(c.Targets) != 0 {
		t.Fatalf("%v, %v", c, err)
	}
	c.Targets["pixel"] = Target{URL: "adb:R58N12"}
	c.Targets["board"] = Target{URL: "ssh://root@board", BTF: "/tmp/board.btf"}
	c.Default = "pixel"
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if got.Default != "pixel" || got.Targets["board"] != c.Targets["board"] || !slices.Equal(got.Names(), []string{"board", "pixel"}) {
		t.Errorf("%+v", got)
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"syntax":      {"default = ", "config.toml"},
		"unknown key": {"[target.a]\nurl = \"shell:\"\ncolour = \"red\"", "unknown key target.a.colour"},
		"no url":      {"[target.a]\nbtf = \"x\"", "target a has no url"},
		"bad name":    {"[target.\"a b\"]\nurl = \"shell:\"", "cannot name a target"},
		"wrong type":  {"default = 7", "config.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, c.content)
			if _, err := Load(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSaveFails(t *testing.T) {
	t.Setenv("BPFD_CONFIG", "/proc/no/such/config.toml")
	if err := (&Config{}).Save(); err == nil {
		t.Error("saved into /proc")
	}
}

func TestResolve(t *testing.T) {
	r := Resolver{
		Config: &Config{Targets: map[string]Target{
			"pixel": {URL: "adb:R58N12"}, "board": {URL: "ssh://root@board"}, "build": {URL: "ssh://elsewhere"}, "R1": {URL: "adb:R1"},
		}},
		Hosts:   func() []string { return []string{"board", "build", "lab"} },
		Serials: func() []string { return []string{"R58N12", "R1", "lab"} },
	}
	for in, want := range map[string]string{
		"pixel":            "adb:R58N12",
		"board":            "ssh://root@board",
		"R1":               "adb:R1",
		"R58N12":           "adb:R58N12",
		"example.org":      "ssh://example.org",
		"root@lab":         "ssh://root@lab",
		"shell:":           "shell:",
		"ssh://lab":        "ssh://lab",
		"tcp://host:7070":  "tcp://host:7070",
		"build":            "error: ssh://elsewhere, ssh://build",
		"lab":              "error: ssh://lab, adb:lab",
		"shell:echo a b@c": "shell:echo a b@c",
	} {
		got, err := r.Resolve(in)
		message, isError := strings.CutPrefix(want, "error: ")
		switch {
		case isError && (err == nil || !strings.Contains(err.Error(), message)):
			t.Errorf("%s: %v, %v", in, got, err)
		case !isError && (err != nil || got.URL != want):
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

func TestSSHHosts(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := "Host board lab-*\n  User root\nHost *\n  Compression yes\nHost jump !bad\n  HostName jump.example.org\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	got := SSHHosts()
	for _, want := range []string{"board", "jump"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %v", want, got)
		}
	}
	for _, s := range got {
		if strings.ContainsAny(s, "*!") {
			t.Errorf("%s is a pattern", s)
		}
	}
}
