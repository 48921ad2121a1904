package text

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of doc/text-protocol.md")

const document = "../../doc/text-protocol.md"

// TestDocument compares the tables of the document with the table of commands.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for marker, extensions := range map[string]bool{"<!-- commands -->\n": false, "<!-- extensions -->\n": true} {
		before, rest, ok := strings.Cut(doc, marker)
		if !ok {
			t.Fatalf("%s is not there", marker)
		}
		is, after, ok := strings.Cut(rest, "<!-- end -->\n")
		if want := markdown(extensions); !ok || is != want {
			if !*update {
				t.Errorf("%s differs, make it anew with go test ./internal/text -run TestDocument -update; want\n%s", marker, want)
			}
			doc = before + marker + want + "<!-- end -->\n" + after
		}
	}
	if *update {
		if err := os.WriteFile(document, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// markdown is the table of commands as the document has it: those of 2017 to
// 2019, or the extensions.
func markdown(extensions bool) string {
	var b strings.Builder
	b.WriteString("| command | arguments | reply |\n|---|---|---|\n")
	for _, c := range table {
		if (c.variants[0].dialects == "") != extensions {
			continue
		}
		var forms []string
		for _, v := range c.variants {
			form := v.args
			if form == "" {
				form = "none"
			}
			if !extensions {
				form += " (" + v.dialects + ")"
			}
			forms = append(forms, form)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.name, strings.Join(forms, "; "), c.reply)
	}
	return b.String()
}

// TestTable: the forms of a command can be told apart by their length.
func TestTable(t *testing.T) {
	commands := byName()
	if len(commands) != len(table) {
		t.Errorf("%d names for %d commands", len(commands), len(table))
	}
	for _, c := range table {
		for i, v := range c.variants {
			if i > 0 && len(v.kinds) <= len(c.variants[i-1].kinds) || len(v.kinds) > maxArgs {
				t.Errorf("%s: form %d has %d arguments", c.name, i, len(v.kinds))
			}
			if strings.Trim(v.kinds, "iuUsb") != "" {
				t.Errorf("%s: kinds of arguments %q", c.name, v.kinds)
			}
		}
	}
}

func TestHelp(t *testing.T) {
	c := newClient(t)
	lines := c.do("HELP")
	for _, row := range table {
		found := 0
		for _, line := range lines {
			if name, _, _ := strings.Cut(line, " "); name == row.name {
				found++
			}
		}
		if found != len(row.variants) {
			t.Errorf("%s is %d times in %q", row.name, found, lines)
		}
	}
	if lines := c.do("VERSION"); len(lines) != 3 || lines[0] != "version: ret=1" || lines[1] != "bpfd test" {
		t.Errorf("VERSION: %q", lines)
	}
}
