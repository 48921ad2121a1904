// Package apt fetches packages of Debian and its kin, of any suite and
// architecture, with the host's apt-get, without installing them and without
// root. apt verifies them: the suite's signature and each package's hash.
package apt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Archive is some suites of a distribution, for one architecture.
type Archive struct {
	dir      string // where apt keeps its state
	dist     *Distribution
	suites   []string
	arch     string
	progress io.Writer
}

// Open returns the archive of suites ("bookworm", "bookworm-backports") for an
// architecture ("amd64"); the last suite's packages are preferred. apt's lists
// are kept below dir, and are fetched if they are not there. apt-get shows how
// far its downloads are on progress, if that is not nil.
func Open(dir string, d *Distribution, arch string, progress io.Writer, suites ...string) (*Archive, error) {
	a := &Archive{dist: d, suites: suites, arch: arch, progress: progress}
	a.dir = filepath.Join(dir, strings.Join(suites, "+")+"-"+arch)
	if _, err := os.Stat(a.path("ready")); err == nil {
		return a, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, errors.New("this host has no apt-get")
	}
	if err := a.configure(); err != nil {
		return nil, err
	}
	if err := a.Update(); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.path("ready"), nil, 0o600)
}

// Update fetches the lists of packages anew.
func (a *Archive) Update() error {
	return a.get("", "update")
}

func (a *Archive) path(name string) string { return filepath.Join(a.dir, name) }

// configure writes an apt configuration that is apart from the host's.
func (a *Archive) configure() error {
	if _, err := os.Stat(a.dist.Keyring); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("this host cannot verify packages of %s: it has no %s (package %s)", a.dist.Origin, a.dist.Keyring, a.dist.KeyringPackage)
	}
	for _, dir := range []string{"lists/partial", "archives/partial", "parts"} {
		if err := os.MkdirAll(a.path(dir), 0o755); err != nil {
			return err
		}
	}
	used := hostMirrors()
	sources := ""
	for _, s := range a.suites {
		sources += fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s main\n", a.arch, a.dist.Keyring, a.dist.mirror(used, s, a.arch), s)
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
`, a.arch, a.dir, a.suites[len(a.suites)-1])
	for name, text := range map[string]string{"sources.list": sources, "apt.conf": conf, "status": ""} {
		if err := os.WriteFile(a.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// apt runs one of apt's commands in a directory and returns what it prints.
func (a *Archive) apt(dir string, args ...string) (string, error) {
	var out strings.Builder
	err := a.run(dir, &out, args...)
	return out.String(), err
}

func (a *Archive) run(dir string, out io.Writer, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.path("apt.conf"), "LC_ALL=C")
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s (%s, %s): %w: %s", strings.Join(args, " "), a.suites[0], a.arch, err, complaint(errs.String()))
	}
	return nil
}

// complaint is what apt says first of what is wrong.
func complaint(said string) string {
	for line := range strings.Lines(said) {
		if e, ok := strings.CutPrefix(line, "E: "); ok {
			return strings.TrimSpace(e)
		}
	}
	return strings.TrimSpace(said)
}

// get runs apt-get, which says what it does to progress.
func (a *Archive) get(dir string, args ...string) error {
	if a.progress == nil {
		_, err := a.apt(dir, append([]string{"apt-get", "-qq"}, args...)...)
		return err
	}
	return a.run(dir, a.progress, append([]string{"apt-get"}, args...)...)
}

// Depends returns the packages that a package depends on by itself.
func (a *Archive) Depends(pkg string) ([]string, error) {
	out, err := a.apt("", "apt-cache", "depends", "--important", pkg)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimLeft(line, " |"), "Depends: "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names, nil
}

// Latest returns the package with a prefix that a metapackage depends on, such
// as linux-image-6.1.0-56-arm64 for linux-image-arm64.
func (a *Archive) Latest(meta, prefix string) (string, error) {
	names, err := a.Depends(meta)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s of %s for %s depends on no %s…", meta, a.suites[0], a.arch, prefix)
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
	if err := a.get(tmp, append([]string{"download"}, pkgs...)...); err != nil {
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
