package abi

import "testing"

// Each role has a register of its architecture, and each architecture has all
// roles that amd64 has.
func TestRoles(t *testing.T) {
	for arch, roles := range Roles {
		for role, off := range roles {
			if Registers[arch][off] == "" {
				t.Errorf("%s has no register at offset %d, for role %d", arch, off, role)
			}
		}
		for role := range Roles["amd64"] {
			if _, ok := roles[role]; !ok {
				t.Errorf("%s has no role %d", arch, role)
			}
		}
	}
	for arch, fields := range RegisterFields {
		for name, off := range fields {
			if _, ok := Counterpart(arch, "arm64", off); !ok {
				t.Errorf("the field %s of %s has no counterpart", name, arch)
			}
		}
	}
}

func TestCounterpart(t *testing.T) {
	for _, c := range []struct {
		from, to string
		off      int32
		want     string // register; "" for none
	}{
		{"amd64", "arm64", 112, "x0"},
		{"amd64", "arm64", 64, "x5"},
		{"amd64", "arm64", 80, "x0"},
		{"amd64", "riscv64", 112, "a0"},
		{"amd64", "arm64", 152, ""}, // the stack pointer
		{"amd64", "arm64", 56, ""},  // r10
		{"arm64", "amd64", 0, ""},   // an argument, and the result
		{"arm64", "amd64", 8, "rsi"},
		{"arm64", "amd64", 48, ""}, // on the stack there
		{"amd64", "arm", 112, ""},
	} {
		off, ok := Counterpart(c.from, c.to, c.off)
		if ok != (c.want != "") || ok && Registers[c.to][off] != c.want {
			t.Errorf("%s at %d on %s: %d %v, want %s", c.from, c.off, c.to, off, ok, c.want)
		}
	}
}
