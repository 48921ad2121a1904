package text

import (
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// extensionVersion is raised when an extension changes or is added.
const extensionVersion = 1

// help answers the table of commands.
func help(s *session, _ *args) {
	for i := range s.table {
		for _, line := range s.table[i].usage() {
			s.out.line(line + "\n")
		}
	}
	s.out.line("exit\n")
}

// usage returns a line for each form of a command.
func (c *command) usage() []string {
	var lines []string
	for i := range c.variants {
		line := c.name
		for _, arg := range strings.Fields(c.variants[i].args) {
			name, kind, _ := strings.Cut(arg, ":")
			if kind == string(kindRest) {
				name += " …"
			}
			line += " " + name
		}
		lines = append(lines, line)
	}
	return lines
}

func version(s *session, _ *args) {
	var u unix.Utsname
	unix.Uname(&u)
	s.ret("version", extensionVersion)
	s.out.line(s.opts.Software + "\n" + runtime.GOARCH + " " + unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + "\n")
}
