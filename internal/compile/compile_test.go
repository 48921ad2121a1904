package compile

import "testing"

func TestCPU(t *testing.T) {
	for release, want := range map[string]string{
		"4.9.337-perf": "v1", "4.14.0": "v2", "5.4.61-android": "v2", "5.10.0-28-arm64": "v2", "5.12.0": "v3", "6.18.44": "v3", "": "v1",
	} {
		if got := cpu(release); got != want {
			t.Errorf("%q: %s, want %s", release, got, want)
		}
	}
}

func TestMissing(t *testing.T) {
	for said, want := range map[string]string{
		"x.c:1:10: fatal error: 'bpf/bpf_helpers.h' file not found": "bpf/bpf_helpers.h is not installed here: install the package libbpf-dev",
		"x.c:1:10: fatal error: 'asm/types.h' file not found":       "asm/types.h is not installed here: install the package linux-libc-dev",
		"x.c:1:10: fatal error: 'my.h' file not found":              "",
		"x.c:1:10: error: expected ';'":                             "",
	} {
		if got := missing(said); got != want {
			t.Errorf("%q: %q", said, got)
		}
	}
}
