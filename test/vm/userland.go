package vm

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"bpfd/test/vm/guest"
)

// userland returns the suite of the programs in a guest: that of its kernel,
// or the oldest that has all of them.
func (r Row) userland() string {
	if r.Suite == "trixie" {
		return "trixie"
	}
	return "bookworm"
}

// program puts a program of Debian's packages into the guest, with the
// libraries that it needs. root is where the packages are unpacked.
func (c *config) program(root, path string) error {
	file, err := find(root, path)
	if err != nil {
		return err
	}
	if err := c.tree.copy(path, file); err != nil {
		return err
	}
	return c.libraries(root, file)
}

// libraries puts what a program or library is linked to into the guest: its
// interpreter where it wants it, libraries where each interpreter looks.
func (c *config) libraries(root, file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	if s := f.Section(".interp"); s != nil {
		b, err := s.Data()
		if err != nil {
			return err
		}
		path := strings.TrimRight(string(b), "\x00")
		interp, err := find(root, filepath.Join("lib", machines[c.row.Arch].lib, filepath.Base(path)))
		if err != nil {
			return err
		}
		if err := c.tree.copy(path, interp); err != nil {
			return err
		}
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, name := range needed {
		to := filepath.Join("lib", machines[c.row.Arch].lib, name)
		if _, ok := c.tree[to]; ok {
			continue
		}
		lib, err := c.library(root, name)
		if err != nil {
			return err
		}
		if err := c.tree.copy(to, lib); err != nil {
			return err
		}
		if err := c.libraries(root, lib); err != nil {
			return err
		}
	}
	return nil
}

// library finds a library, also in a directory that a RUNPATH names.
func (c *config) library(root, name string) (string, error) {
	dir := machines[c.row.Arch].lib
	for _, d := range []string{"lib", "usr/lib"} {
		for _, sub := range []string{"", "android"} {
			if file, err := find(root, filepath.Join(d, dir, sub, name)); err == nil {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("no package has %s", name)
}

// find returns a file of an unpacked root, in which links are relative to the
// root and /lib may be in /usr.
func find(root, path string) (string, error) {
	for _, p := range []string{path, filepath.Join("usr", path)} {
		file := filepath.Join(root, p)
		for range 8 {
			st, err := os.Lstat(file)
			if err != nil {
				break
			}
			if st.Mode().Type() != fs.ModeSymlink {
				return file, nil
			}
			link, err := os.Readlink(file)
			if err != nil {
				break
			}
			if filepath.IsAbs(link) {
				file = filepath.Join(root, link)
			} else {
				file = filepath.Join(filepath.Dir(file), link)
			}
		}
	}
	return "", fmt.Errorf("%s: %w", path, fs.ErrNotExist)
}

// WithSSH gives the guest an ssh server (dropbear), to which VM.SSHConfig
// leads.
func WithSSH() Option {
	return func(c *config) error {
		suite := c.row.userland()
		root, err := unpack(c.cache, "dropbear-"+suite+"-"+c.row.Arch, suite, c.row.Arch, true, "dropbear-bin")
		if err != nil {
			return err
		}
		if err := c.program(root, "/usr/sbin/dropbear"); err != nil {
			return err
		}
		key := filepath.Join(c.dir, "ssh-key")
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			return err
		}
		c.tree.dir("/root/.ssh", 0o700)
		c.tree.file("/root/.ssh/authorized_keys", 0o600, public)
		c.tree.dir("/etc/dropbear", 0o700)
		return WithStart("ssh", "exec /usr/sbin/dropbear -R -E -F -s -p 22\n")(c)
	}
}

// WithADB gives the guest Android's adbd, to which VM.ADB leads.
func WithADB() Option {
	return func(c *config) error {
		suite := c.row.userland()
		if suite == "bookworm" {
			suite = "bookworm-backports"
		}
		root, err := unpack(c.cache, "adbd-"+suite+"-"+c.row.Arch, suite, c.row.Arch, true, "adbd")
		if err != nil {
			return err
		}
		program := "/usr/bin/adbd"
		if _, err := find(root, program); err != nil {
			program = "/usr/lib/android-sdk/platform-tools/adbd"
		}
		if err := c.program(root, program); err != nil {
			return err
		}
		return WithStart("adb", "exec "+program+"\n")(c)
	}
}

// SSHConfig returns the path of a configuration for ssh -F, in which the host
// "vm" is the guest.
func (v *VM) SSHConfig() string { return v.path("ssh-config") }

// ADB returns what to give to adb connect, and then to adb -s.
func (v *VM) ADB() string { return fmt.Sprintf("127.0.0.1:%d", v.Port(guest.ADBPort)) }

// writeSSHConfig writes what SSHConfig returns.
func (v *VM) writeSSHConfig() error {
	return os.WriteFile(v.SSHConfig(), fmt.Appendf(nil, `Host vm
	HostName 127.0.0.1
	Port %d
	User root
	IdentityFile %s
	IdentitiesOnly yes
	StrictHostKeyChecking accept-new
	UserKnownHostsFile %s
`, v.Port(guest.SSHPort), v.path("ssh-key"), v.path("ssh-hosts")), 0o600)
}
