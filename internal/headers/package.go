package headers

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bpfd/internal/apt"
	"bpfd/internal/cache"
)

// Package is a distribution's package of a kernel's headers.
type Package struct {
	Name         string
	Distribution string // and its release, for people

	dist   *apt.Distribution // nil: cannot be fetched here
	suites []string
	arch   string // as the distribution spells it
}

// Fetchable says whether FetchPackage can fetch it on some host.
func (p *Package) Fetchable() bool { return p.dist != nil }

// releases are the releases of Debian and Ubuntu by the kernels that they came
// with, for targets that do not tell otherwise.
var releases = []struct {
	dist             *apt.Distribution
	kernel           string
	codename, number string
}{
	{apt.Debian, "4.19", "buster", "10"},
	{apt.Debian, "5.10", "bullseye", "11"},
	{apt.Debian, "6.1", "bookworm", "12"},
	{apt.Debian, "6.12", "trixie", "13"},
	{apt.Ubuntu, "4.15", "bionic", "18.04"},
	{apt.Ubuntu, "5.4", "focal", "20.04"},
	{apt.Ubuntu, "5.15", "jammy", "22.04"},
	{apt.Ubuntu, "6.8", "noble", "24.04"},
}

// others are packages of distributions that are named only, by what their
// kernels' releases look like.
var others = []struct {
	distribution string
	release      *regexp.Regexp
	name         string // %s: the release
}{
	{"Fedora", regexp.MustCompile(`\.fc\d+\.`), "kernel-devel-%s"},
	{"Red Hat Enterprise Linux or its kin", regexp.MustCompile(`\.el\d+`), "kernel-devel-%s"},
	{"Raspberry Pi OS", regexp.MustCompile(`\+rpt-`), "linux-headers-%s"},
	{"Arch Linux", regexp.MustCompile(`-arch\d+-\d+$`), "linux-headers"},
	{"Alpine Linux", regexp.MustCompile(`-lts$`), "linux-lts-dev"},
}

// debArches are the distributions' names of architectures where they are not Go's.
var debArches = map[string]string{"arm": "armhf", "386": "i386"}

var (
	debianVersion = regexp.MustCompile(`\bDebian (\S+)`)
	ubuntuVersion = regexp.MustCompile(`^#\d+(?:~([0-9.]+?)(?:\.\d+)?)?-Ubuntu\b`)
	backport      = regexp.MustCompile(`~bpo(\d+)\+`)
)

// Package names the distribution's package that has the kernel's headers, nil
// if the distribution is not known.
func (f *Finder) Package() *Package {
	for _, o := range others {
		if o.release.MatchString(f.Kernel.Release) {
			name := o.name
			if strings.Contains(name, "%s") {
				name = fmt.Sprintf(name, f.Kernel.Release)
			}
			return &Package{Name: name, Distribution: o.distribution}
		}
	}
	if m := debianVersion.FindStringSubmatch(f.Kernel.Version); m != nil {
		return f.deb(apt.Debian, m[1])
	}
	if m := ubuntuVersion.FindStringSubmatch(f.Kernel.Version); m != nil {
		return f.deb(apt.Ubuntu, m[1])
	}
	return nil
}

// deb names the package of a kernel of Debian or Ubuntu; version is the
// kernel package's, or the number of an Ubuntu that it was made for.
func (f *Finder) deb(d *apt.Distribution, version string) *Package {
	p := &Package{Name: "linux-headers-" + f.Kernel.Release, Distribution: d.Origin, dist: d, arch: f.Kernel.Arch}
	if a := debArches[p.arch]; a != "" {
		p.arch = a
	}
	codename := f.codename(d, version)
	if codename == "" {
		p.dist = nil
		return p
	}
	p.Distribution += " " + codename
	p.suites = []string{codename, codename + "-updates", codename + "-security"}
	if backport.MatchString(version) {
		p.suites = append(p.suites, codename+"-backports")
	}
	return p
}

// codename finds the release of a distribution: by the version of the kernel's
// package, by the target's os-release(5), by the kernel that came with it.
func (f *Finder) codename(d *apt.Distribution, version string) string {
	number := version
	if m := backport.FindStringSubmatch(version); m != nil {
		number = m[1]
	}
	for _, r := range releases {
		if r.dist == d && r.number == number {
			return r.codename
		}
	}
	os := osRelease(text(f.remote, "/etc/os-release"))
	if os["ID"] == strings.ToLower(d.Origin) && os["VERSION_CODENAME"] != "" {
		return os["VERSION_CODENAME"]
	}
	for _, r := range releases {
		if r.dist == d && strings.HasPrefix(f.Kernel.Release, r.kernel+".") {
			return r.codename
		}
	}
	return ""
}

// osRelease parses os-release(5).
func osRelease(s string) map[string]string {
	values := make(map[string]string)
	for lines := bufio.NewScanner(strings.NewReader(s)); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), "="); ok {
			values[k] = strings.Trim(v, `"'`)
		}
	}
	return values
}

// FetchPackage fetches the distribution's headers with the host's apt-get into
// the cache, without installing anything. What apt says goes to progress.
func (f *Finder) FetchPackage(p *Package, progress io.Writer) (Tree, error) {
	dir, err := store(f.ID(), func(dir string) error {
		a, err := apt.Open(cache.Path("apt"), p.dist, p.arch, progress, p.suites...)
		if err != nil {
			return err
		}
		unpacked := dir + ".debs"
		if fetch(a, unpacked, p.Name) != nil {
			// The lists may be older than the package.
			if err := a.Update(); err != nil {
				return err
			}
			if err := fetch(a, unpacked, p.Name); err != nil {
				return fmt.Errorf("%s cannot be had from %s (snapshot.debian.org has old ones of Debian): %w", p.Name, strings.Join(p.suites, ", "), err)
			}
		}
		if err := mergePackage(dir, unpacked, p.Name); err != nil {
			return err
		}
		t, err := In(dir)
		if err != nil {
			return err
		}
		return Check(t, f.Kernel)
	})
	if err != nil {
		return Tree{}, err
	}
	return In(dir)
}

// fetch unpacks a package of headers and the rest of them.
func fetch(a *apt.Archive, dir, name string) error {
	debs, err := halves(a, name)
	if err != nil {
		return err
	}
	return a.Unpack(dir, debs...)
}

// halves returns a package of headers and those of the rest of them.
func halves(a *apt.Archive, name string) ([]string, error) {
	deps, err := a.Depends(name)
	if err != nil {
		return nil, err
	}
	debs := []string{name}
	for _, d := range deps {
		if strings.HasPrefix(d, "linux-") && strings.Contains(d, "headers-") {
			debs = append(debs, d)
		}
	}
	return debs, nil
}

// mergePackage makes one tree of those that packages have, the one of the
// package itself before those that it depends on.
func mergePackage(dir, unpacked, name string) error {
	trees, err := filepath.Glob(filepath.Join(unpacked, "usr/src/*"))
	if err != nil {
		return err
	}
	own := filepath.Join(unpacked, "usr/src", name)
	i := slices.Index(trees, own)
	if i < 0 {
		return fmt.Errorf("the package %s has no /usr/src/%[1]s", name)
	}
	trees[0], trees[i] = trees[i], trees[0]
	return merge(dir, trees...)
}
