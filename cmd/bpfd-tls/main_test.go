package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The manual page knows every option and its default.
func TestManPage(t *testing.T) {
	b, err := os.ReadFile("../../doc/man/bpfd-tls.8")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	command().Flags().VisitAll(func(f *pflag.Flag) {
		_, item, ok := strings.Cut(page, ".It Fl -"+f.Name+" ")
		item, _, _ = strings.Cut(item, "\n.It ")
		if !ok || f.Name != "bpfd" && !strings.Contains(item, f.DefValue) {
			t.Errorf("--%s, by default %q, is not in the page", f.Name, f.DefValue)
		}
	})
}
