package mtls

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Nothing that is there is replaced, and nothing is left that does not belong to it.
func TestNothingReplaced(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca")
	issue := func(out string) error { return Issue(ca, out, Target, time.Hour, "board") }
	if err := Init(ca); err != nil {
		t.Fatal(err)
	}
	if err := issue(ca); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{caFile, caKeyFile, certFile, keyFile} {
		dir := t.TempDir()
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused := map[string]error{"Init": Init(dir)}
		if file != caKeyFile { // which is not one of a target's
			refused["Issue"] = issue(dir)
		}
		for what, err := range refused {
			if err == nil || !strings.Contains(err.Error(), path+" is there already") {
				t.Errorf("%s with %s: %v", what, file, err)
			}
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", file, list, err)
		}
	}
	if err := issue(ca); err == nil {
		t.Error("the authority's own certificate was replaced")
	}
	if _, err := Load(ca, Target); err != nil {
		t.Error(err)
	}
}
