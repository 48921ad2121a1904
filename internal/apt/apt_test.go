package apt

import "testing"

func TestMirror(t *testing.T) {
	used := map[string]string{"Debian|Debian": "http://near/debian/", "Ubuntu|Ubuntu": "http://near/ubuntu/"}
	for _, c := range []struct {
		dist        *Distribution
		suite, arch string
		used        map[string]string
		want        string
	}{
		{Debian, "bookworm", "arm64", used, "http://near/debian/"},
		{Debian, "bookworm-backports", "amd64", used, "http://near/debian/"},
		{Debian, "bookworm-security", "amd64", used, "http://deb.debian.org/debian-security"},
		{Debian, "bookworm", "amd64", nil, "http://deb.debian.org/debian"},
		{Ubuntu, "jammy-security", "amd64", used, "http://near/ubuntu/"},
		{Ubuntu, "jammy", "arm64", used, "http://ports.ubuntu.com/ubuntu-ports"},
		{Ubuntu, "jammy", "amd64", nil, "http://archive.ubuntu.com/ubuntu"},
	} {
		if got := c.dist.mirror(c.used, c.suite, c.arch); got != c.want {
			t.Errorf("%s for %s: %s", c.suite, c.arch, got)
		}
	}
}

func TestComplaint(t *testing.T) {
	for said, want := range map[string]string{
		"W: Some index files failed\nE: Unable to locate package x\nE: No packages found\n": "Unable to locate package x",
		"killed\n": "killed",
	} {
		if got := complaint(said); got != want {
			t.Errorf("%q: %q", said, got)
		}
	}
}

// A distribution whose packages cannot be verified is not fetched from.
func TestNoKeyring(t *testing.T) {
	d := *Debian
	d.Keyring = "/nonexistent/keyring.gpg"
	_, err := Open(t.TempDir(), &d, "amd64", nil, "bookworm")
	if want := "this host cannot verify packages of Debian: it has no /nonexistent/keyring.gpg (package debian-archive-keyring)"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}
