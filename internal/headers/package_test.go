package headers

import (
	"os"
	"slices"
	"strings"
	"testing"

	"bpfd/internal/apt"
	"bpfd/internal/wire"
)

func TestPackage(t *testing.T) {
	for _, c := range []struct {
		release, version, arch string
		osRelease              string
		name, distribution     string
		suites                 string // "": cannot be fetched
		debArch                string
	}{
		{"6.1.0-56-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-01)", "amd64", "",
			"linux-headers-6.1.0-56-amd64", "Debian bookworm", "bookworm bookworm-updates bookworm-security", "amd64"},
		{"5.10.0-32-arm64", "#1 SMP Debian 5.10.223-1 (2024-08-10)", "arm64", "ID=ubuntu\nVERSION_CODENAME=noble\n",
			"linux-headers-5.10.0-32-arm64", "Debian bullseye", "bullseye bullseye-updates bullseye-security", "arm64"},
		{"6.12.9+bpo-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.9-1~bpo12+1 (2025-01-19)", "amd64", "",
			"linux-headers-6.12.9+bpo-cloud-amd64", "Debian bookworm", "bookworm bookworm-updates bookworm-security bookworm-backports", "amd64"},
		{"6.17.2-armmp", "#1 SMP Debian 6.17.2-1 (2025-11-01)", "arm", "PRETTY_NAME=\"Debian forky\"\nID=debian\nVERSION_CODENAME=\"forky\"\n",
			"linux-headers-6.17.2-armmp", "Debian forky", "forky forky-updates forky-security", "armhf"},
		{"6.17.2-armmp", "#1 SMP Debian 6.17.2-1 (2025-11-01)", "arm", "", "linux-headers-6.17.2-armmp", "Debian", "", "armhf"},
		{"5.15.0-91-generic", "#101~20.04.1-Ubuntu SMP Thu Nov 16 14:22:28 UTC 2023", "amd64", "",
			"linux-headers-5.15.0-91-generic", "Ubuntu focal", "focal focal-updates focal-security", "amd64"},
		{"5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023", "arm64", "",
			"linux-headers-5.15.0-91-generic", "Ubuntu jammy", "jammy jammy-updates jammy-security", "arm64"},
		{"6.11.0-9-generic", "#9-Ubuntu SMP PREEMPT_DYNAMIC Mon Oct 14 13:19:59 UTC 2024", "amd64", "ID=ubuntu\nVERSION_CODENAME=oracular\n",
			"linux-headers-6.11.0-9-generic", "Ubuntu oracular", "oracular oracular-updates oracular-security", "amd64"},
		{"6.5.6-300.fc39.x86_64", "#1 SMP PREEMPT_DYNAMIC Fri Oct 6 19:57:21 UTC 2023", "amd64", "", "kernel-devel-6.5.6-300.fc39.x86_64", "Fedora", "", ""},
		{"6.6.51+rpt-rpi-v8", "#1 SMP PREEMPT Debian 1:6.6.51-1+rpt3 (2024-10-08)", "arm64", "", "linux-headers-6.6.51+rpt-rpi-v8", "Raspberry Pi OS", "", ""},
		{"5.10.43-android12", "#1 SMP PREEMPT Thu Jan 1 00:00:00 UTC 1970", "arm64", "", "", "", "", ""},
	} {
		remote := &target{files: map[string][]byte{"/etc/os-release": []byte(c.osRelease)}, open: make(map[wire.Handle]string)}
		f := NewFinder(remote, &wire.Info{Release: c.release, Version: c.version, Arch: c.arch}, Options{})
		p := f.Package()
		if p == nil {
			if c.name != "" {
				t.Errorf("%s: no package", c.version)
			}
			continue
		}
		if p.Name != c.name || p.Distribution != c.distribution || strings.Join(p.suites, " ") != c.suites || p.arch != c.debArch || p.Fetchable() != (c.suites != "") {
			t.Errorf("%s: %+v", c.version, p)
		}
	}
}

// The trees of two packages, as dpkg-deb leaves them.
func TestMergePackage(t *testing.T) {
	const own, common = "usr/src/linux-headers-5.15.0-91-generic/", "usr/src/linux-headers-5.15.0-91/"
	whole := sources("5.15.0-91-generic", "CONFIG_X86_64")
	unpacked := written(t, map[string]string{own + utsrelease: whole[utsrelease], own + autoconf: whole[autoconf], common + kconfig: "", common + "Makefile": "all:"})
	if err := os.Symlink("../../linux-headers-5.15.0-91/include/linux", unpacked+"/"+own+"include/linux"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/tree"
	if err := mergePackage(dir, unpacked, "linux-headers-5.15.0-91-generic"); err != nil {
		t.Fatal(err)
	}
	tree, err := In(dir)
	if err == nil {
		err = Check(tree, Kernel{Release: "5.15.0-91-generic", Arch: "amd64"})
	}
	if err != nil || tree.Source != dir {
		t.Errorf("%v, %v", tree, err)
	}
	if err := mergePackage(t.TempDir()+"/tree", unpacked, "linux-headers-other"); err == nil {
		t.Error("a package without headers was taken")
	}
}

// This machine's own kernel headers, if it has Debian's installed, and those of
// another architecture, come from Debian.
func TestFetchPackage(t *testing.T) {
	if testing.Short() || os.Getenv("CI") == "" && os.Getenv("BPFD_TEST_FETCH") == "" {
		t.Skip("fetches 25 MB; set BPFD_TEST_FETCH to run it")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	a, err := apt.Open(t.TempDir(), apt.Debian, "arm64", nil, "bookworm")
	if err != nil {
		t.Fatal(err)
	}
	deps, err := a.Depends("linux-headers-arm64")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(deps, func(d string) bool { return strings.HasPrefix(d, "linux-headers-6.1.") })
	if i < 0 {
		t.Fatalf("linux-headers-arm64 depends on %v", deps)
	}
	info := wire.Info{Release: strings.TrimPrefix(deps[i], "linux-headers-"), Version: "#1 SMP Debian 6.1.1-1", Arch: "arm64"}
	f := NewFinder(&target{}, &info, Options{})
	tree, err := f.FetchPackage(f.Package(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"arch/arm64/include/asm/ptrace.h", "arch/arm64/include/generated/uapi/asm/types.h", kconfig, autoconf} {
		if !exists(tree.Build, name) {
			t.Errorf("%s is missing", name)
		}
	}
	if left := leftovers(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	f = NewFinder(&target{}, &info, Options{})
	if got, err := f.Find(); err != nil || got != tree {
		t.Errorf("the next time: %v, %v", got, err)
	}
}
