// Package debian fetches Debian packages of any suite and architecture with
// the host's apt-get, without installing them and without root. apt verifies
// them: the suite's signature and each package's hash.
package debian

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// MirrorVariable names a mirror of Debian to take instead of the one that the
// host's apt uses.
const MirrorVariable = "BPFD_VM_MIRROR"

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Archive is one suite for one architecture.
type Archive struct {
	dir   string // where apt keeps its state
	suite string
	arch  string
}

// Open returns the archive of a suite ("bookworm", or "bookworm-backports")
// for an architecture ("amd64"). apt's lists are kept below dir, and are
// fetched if they are not there.
func Open(dir, suite, arch string) (*Archive, error) {
	a := &Archive{dir: filepath.Join(dir, suite+"-"+arch), suite: suite, arch: arch}
	if _, err := os.Stat(a.path("ready")); err == nil {
		return a, nil
	}
	mirror, err := mirror()
	if err != nil {
		return nil, err
	}
	if err := a.configure(mirror); err != nil {
		return nil, err
	}
	if err := a.Update(); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.path("ready"), nil, 0o600)
}

// Update fetches the lists of packages anew.
func (a *Archive) Update() error {
	_, err := a.apt("", "apt-get", "-qq", "update")
	return err
}

func (a *Archive) path(name string) string { return filepath.Join(a.dir, name) }

// mirror returns the mirror of Debian that the host uses.
func mirror() (string, error) {
	if m := os.Getenv(MirrorVariable); m != "" {
		return m, nil
	}
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "Debian|Debian|"); ok {
			return uri, nil
		}
	}
	return "", errors.New("this machine's apt uses no mirror of Debian: set " + MirrorVariable + " to the address of one")
}

// configure writes an apt configuration that is apart from the host's.
func (a *Archive) configure(mirror string) error {
	for _, dir := range []string{"lists/partial", "archives/partial", "parts"} {
		if err := os.MkdirAll(a.path(dir), 0o755); err != nil {
			return err
		}
	}
	suites := []string{a.suite}
	if base, _, ok := strings.Cut(a.suite, "-"); ok {
		suites = []string{base, a.suite}
	}
	source := ""
	for _, s := range suites {
		source += fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s main\n", a.arch, keyring, mirror, s)
	}
	conf := fmt.Sprintf(`APT::Architecture "%s";
APT::Architectures { "%[1]s"; };
APT::Default-Release "%[3]s";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "%[2]s";
Dir::State::lists "%[2]s/lists";
Dir::State::status "%[2]s/status";
Dir::Cache "%[2]s";
Dir::Cache::archives "%[2]s/archives";
Dir::Etc::sourcelist "%[2]s/sources.list";
Dir::Etc::sourceparts "%[2]s/parts";
Dir::Etc::preferencesparts "%[2]s/parts";
`, a.arch, a.dir, a.suite)
	for name, text := range map[string]string{"sources.list": source, "apt.conf": conf, "status": ""} {
		if err := os.WriteFile(a.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// apt runs one of apt's commands in a directory and returns what it prints.
func (a *Archive) apt(dir string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.path("apt.conf"), "LC_ALL=C")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s (%s, %s): %w: %s", strings.Join(args, " "), a.suite, a.arch, err, strings.TrimSpace(errs.String()))
	}
	return string(out), nil
}

// Latest returns the package with a prefix that a metapackage depends on, such
// as linux-image-6.1.0-56-arm64 for linux-image-arm64.
func (a *Archive) Latest(meta, prefix string) (string, error) {
	out, err := a.apt("", "apt-cache", "depends", meta)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, prefix) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s of %s for %s depends on no %s…", meta, a.suite, a.arch, prefix)
}

// Closure returns packages and all that they depend on.
func (a *Archive) Closure(pkgs ...string) ([]string, error) {
	out, err := a.apt("", append([]string{"apt-get", "install", "--simulate"}, pkgs...)...)
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" {
			all = append(all, f[1])
		}
	}
	return all, nil
}

// Unpack fetches packages and unpacks them into a directory, which is there as
// a whole or not at all. No script of a package is run.
func (a *Archive) Unpack(dst string, pkgs ...string) error {
	if _, err := os.Stat(dst); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dst), ".unpack-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := a.apt(tmp, append([]string{"apt-get", "-qq", "download"}, pkgs...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(tmp, "root")
	for _, deb := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg-deb -x %s: %w: %s", filepath.Base(deb), err, out)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	return os.Rename(root, dst)
}
