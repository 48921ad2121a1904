//go:build ignore

// Writes the tables of system calls from those of golang.org/x/sys/unix.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		log.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s*=\s*(\d+)`)
	for _, arch := range []string{"amd64", "arm64", "arm", "riscv64"} {
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "unix", "zsysnum_linux_"+arch+".go"))
		if err != nil {
			log.Fatal(err)
		}
		var table strings.Builder
		for _, m := range line.FindAllStringSubmatch(string(b), -1) {
			fmt.Fprintf(&table, "%s\t%s\n", m[2], strings.ToLower(m[1]))
		}
		if err := os.WriteFile(arch+".txt", []byte(table.String()), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
