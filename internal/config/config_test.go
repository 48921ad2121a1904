package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// TestUpdates: none is lost of several at the same time, and a link to the file
// stays one.
func TestUpdates(t *testing.T) {
	path := write(t, "")
	real := filepath.Join(t.TempDir(), "real.toml")
	if err := os.WriteFile(real, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := Update(func(c *Config) error {
				c.Targets[fmt.Sprint("t", i)] = Target{URL: "shell:"}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c, err := Load(); err != nil || len(c.Targets) != 20 {
		t.Errorf("%v, %v", c, err)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v, %v", st, err)
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
			"port":  {URL: "ssh://root@port:2222?su=none"},
			"pixel": {URL: "adb:R58N12"}, "board": {URL: "ssh://root@board"}, "build": {URL: "ssh://elsewhere"}, "R1": {URL: "adb:R1"},
		}},
		Hosts:   func() []string { return []string{"board", "build", "lab", "port"} },
		Serials: func() []string { return []string{"R58N12", "R1", "lab"} },
	}
	for in, want := range map[string]string{
		"pixel":            "adb:R58N12",
		"board":            "ssh://root@board",
		"port":             "ssh://root@port:2222?su=none",
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
	for path, text := range map[string]string{
		"config": "Host board lab-*\n  User root\nHost *\n  Compression yes\nHost jump !bad # comment\n  HostName jump.example.org\n" +
			"Match host nothost exec \"true\"\n  Port 1\nhost=equal\r\n HOST  \"quoted\"\n# Host comment\nInclude more/* ~/.ssh/other none\n",
		"more/a": "Host included\nInclude config\n", // itself
		"other":  "Host \tother-1 other-2",
	} {
		path = filepath.Join(home, ".ssh", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := SSHHosts()
	for _, want := range []string{"board", "jump", "equal", "quoted", "included", "other-1", "other-2"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %v", want, got)
		}
	}
	if slices.Contains(got, "nothost") || slices.Contains(got, "comment") {
		t.Errorf("%v", got)
	}
	for _, s := range got {
		if strings.ContainsAny(s, "*!") {
			t.Errorf("%s is a pattern", s)
		}
	}
}
