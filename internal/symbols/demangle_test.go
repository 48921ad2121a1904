package symbols

import (
	"bytes"
	"debug/elf"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

// TestDemangle: names of all kinds, as c++filt prints them.
func TestDemangle(t *testing.T) {
	for symbol, want := range map[string]string{
		"main":                              "main",
		"_ZN3foo3barEv":                     "foo::bar()",
		"_ZNK3foo3barEiPKcRKS_":             "foo::bar(int, char const*, foo const&) const",
		"_ZN3fooC2Ev":                       "foo::foo()",
		"_ZN3fooD0Ev":                       "foo::~foo()",
		"_ZN3fooIiED1Ev":                    "foo<int>::~foo()",
		"_Z1fIiEvT_":                        "void f<int>(int)",
		"_Z1fIJicEEvDpRT_":                  "void f<int, char>(int&, char&)",
		"_Z1fIJEEvDpT_":                     "void f<>()",
		"_Z1fPFicE":                         "f(int (*)(char))",
		"_Z1fPFPFivEcE":                     "f(int (*(*)(char))())",
		"_Z1fRA10_i":                        "f(int (&) [10])",
		"_Z1fM3fooKFivE":                    "f(int (foo::*)() const)",
		"_ZNSt6vectorIiSaIiEE9push_backEOi": "std::vector<int, std::allocator<int> >::push_back(int&&)",
		"_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc": "std::basic_ostream<char, std::char_traits<char> >& std::operator<< <std::char_traits<char> >(std::basic_ostream<char, std::char_traits<char> >&, char const*)",
		"_ZN12_GLOBAL__N_11fEv":                                   "(anonymous namespace)::f()",
		"_ZZ4mainENKUliE_clEi":                                    "main::{lambda(int)#1}::operator()(int) const",
		"_ZNSsC1Ev":                                               "std::basic_string<char, std::char_traits<char>, std::allocator<char> >::basic_string()",
		"_ZN3foocvbEv":                                            "foo::operator bool()",
		"_Z1fv.isra.0.cold":                                       "f() [clone .isra.0] [clone .cold]",
		"_ZTV3foo":                                                "vtable for foo",
		"_ZThn16_N3foo3barEv":                                     "non-virtual thunk to foo::bar()",
		"_ZN1AILi5ELb1ELm7EE1fEv":                                 "A<5, true, 7ul>::f()",
		"_ZN4core3fmt5write17h0123456789abcdefE":                  "core::fmt::write::h0123456789abcdef",
		"_ZoRRiS_":                                                "operator|=(int&, int&)",
		"_Z":                                                      "_Z",
		"_Z1":                                                     "_Z1",
		"_ZN":                                                     "_ZN",
		"_ZNS9_1fEv":                                              "_ZNS9_1fEv",
	} {
		if got := Demangle(symbol); got != want {
			t.Errorf("%s: %s, want %s", symbol, got, want)
		}
	}
}

// TestDemangleLibrary compares with c++filt, over all functions of the C++ library.
func TestDemangleLibrary(t *testing.T) {
	filt, err := exec.LookPath("c++filt")
	libs, _ := filepath.Glob("/usr/lib/*/libstdc++.so.6")
	if err != nil || len(libs) == 0 {
		testenv.Missing(t, "c++filt or libstdc++")
	}
	f, err := elf.Open(libs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && strings.HasPrefix(s.Name, "_Z") {
			names = append(names, s.Name)
		}
	}
	cmd := exec.Command(filt)
	cmd.Stdin = strings.NewReader(strings.Join(names, "\n"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	mangled, wrong := 0, 0
	for i, want := range bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
		switch got := Demangle(names[i]); got {
		case string(want):
		case names[i]:
			mangled++
			if mangled < 10 {
				t.Logf("not demangled: %s", names[i])
			}
		default:
			wrong++
			if wrong < 20 {
				t.Errorf("%s:\n%s, c++filt says\n%s", names[i], got, want)
			}
		}
	}
	t.Logf("%d names, %d of them not demangled, %d otherwise", len(names), mangled, wrong)
	if mangled > len(names)/100 {
		t.Errorf("%d of %d names are not demangled", mangled, len(names))
	}
}

// FuzzDemangle: nothing crashes, whatever a symbol table holds.
func FuzzDemangle(f *testing.F) {
	for _, s := range []string{"_ZN3foo3barEiPKcRKS_", "_Z1fIJicEEvDpRT_", "_ZZ4mainENKUliE_clEi", "_Z1fM3fooKFivE"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { Demangle(s) })
}
