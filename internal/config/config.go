// Package config keeps the names that a user gave to targets, in
// $XDG_CONFIG_HOME/bpfd/config.toml, and finds what a name stands for.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"bpfd/internal/cache"

	"github.com/BurntSushi/toml"
	"golang.org/x/sys/unix"
)

// Config is the content of the file.
type Config struct {
	Default string            `toml:"default,omitempty"`
	Targets map[string]Target `toml:"target,omitempty"`
}

// Target is what a name stands for.
type Target struct {
	URL     string `toml:"url"`
	Headers string `toml:"headers,omitempty"` // as --headers of bpfctl run
	BTF     string `toml:"btf,omitempty"`     // as --btf
}

// Path returns where the file is: BPFD_CONFIG, or below the user's directory
// for configuration.
func Path() (string, error) {
	if path := os.Getenv("BPFD_CONFIG"); path != "" {
		return path, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "bpfd", "config.toml"), nil
}

// Load reads the file; there need not be one. A key that is not known is an
// error: it would not do what its author meant.
func Load() (*Config, error) {
	c := &Config{Targets: make(map[string]Target)}
	path, err := Path()
	if err != nil {
		return c, nil // a user without a home has no names
	}
	meta, err := toml.DecodeFile(path, c)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, unknown[0])
	}
	if c.Targets == nil {
		c.Targets = make(map[string]Target)
	}
	for _, name := range c.Names() {
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if c.Targets[name].URL == "" {
			return nil, fmt.Errorf("%s: target %s has no url", path, name)
		}
	}
	return c, nil
}

// Update changes the file; of several at the same time each sees what those
// before have changed.
func Update(change func(*Config) error) error {
	path, err := Path()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("%s: %w", dir.Name(), err)
	}
	c, err := Load()
	if err == nil {
		err = change(c)
	}
	if err != nil {
		return err
	}
	return c.Save()
}

// Save writes the file, as a whole or not at all. A symbolic link to it stays
// one.
func (c *Config) Save() error {
	path, err := Path()
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(c); err != nil {
		return err
	}
	return cache.Put(path, b.Bytes(), 0o600)
}

// Names returns the names of all targets, sorted.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.Targets)) }

// name is what can be told from a URL and from a user at a host.
var name = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// CheckName says why a target cannot be called so.
func CheckName(s string) error {
	if !name.MatchString(s) {
		return fmt.Errorf("%q cannot name a target: use letters, digits, dots, hyphens and underscores", s)
	}
	return nil
}
