package apt

import (
	"os/exec"
	"strings"
)

// Distribution says where a distribution's packages come from.
type Distribution struct {
	Origin         string // as its archives call themselves, sources.list(5)
	Keyring        string // the keys that sign them, on the host
	KeyringPackage string // of the host, which has the keyring
	archives       []archive
}

// archive is a part of a distribution that has mirrors of its own.
type archive struct {
	suffix string // of the names of its suites
	arches string // all if empty
	label  string // as it calls itself
	uri    string // a mirror, if the host's apt uses none
}

// The distributions that are known.
var (
	Debian = &Distribution{
		Origin: "Debian", Keyring: "/usr/share/keyrings/debian-archive-keyring.gpg", KeyringPackage: "debian-archive-keyring",
		archives: []archive{
			{suffix: "-security", label: "Debian-Security", uri: "http://deb.debian.org/debian-security"},
			{label: "Debian", uri: "http://deb.debian.org/debian"},
		},
	}
	Ubuntu = &Distribution{
		Origin: "Ubuntu", Keyring: "/usr/share/keyrings/ubuntu-archive-keyring.gpg", KeyringPackage: "ubuntu-keyring",
		archives: []archive{
			{arches: "amd64 i386", label: "Ubuntu", uri: "http://archive.ubuntu.com/ubuntu"},
			{label: "Ubuntu ports", uri: "http://ports.ubuntu.com/ubuntu-ports"},
		},
	}
)

// mirror returns the address of a suite: among those that the host's apt uses,
// by origin and label, or one that everybody may use.
func (d *Distribution) mirror(used map[string]string, suite, arch string) string {
	for _, a := range d.archives {
		if !strings.HasSuffix(suite, a.suffix) || a.arches != "" && !strings.Contains(" "+a.arches+" ", " "+arch+" ") {
			continue
		}
		if uri := used[d.Origin+"|"+a.label]; uri != "" {
			return uri
		}
		return a.uri
	}
	return ""
}

// hostMirrors returns the mirrors that the host's apt uses, by origin and
// label. Without any there are those that everybody may use.
func hostMirrors() map[string]string {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return nil
	}
	used := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		i := strings.LastIndexByte(line, ' ')
		if uri := strings.TrimSpace(line[i+1:]); i > 0 && used[line[:i]] == "" {
			used[line[:i]] = uri
		}
	}
	return used
}
