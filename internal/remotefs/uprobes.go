package remotefs

import (
	"path"
	"strings"
	"syscall"
)

// definesUprobes says whether lines that are written to a file of tracefs name
// programs to probe.
func definesUprobes(p string) bool {
	base := path.Base(p)
	return base == "uprobe_events" || base == "dynamic_events"
}

// uprobes makes the programs in lines like "p:GRP/EVENT PATH:OFFSET …" the
// target's (Documentation/trace/uprobetracer.rst).
func (f *FS) uprobes(lines []byte) ([]byte, syscall.Errno) {
	var out strings.Builder
	for line := range strings.Lines(string(lines)) {
		kind, rest, _ := strings.Cut(line, " ")
		file, _, ok := strings.Cut(rest, ":")
		if !ok || kind == "" || kind[0] != 'p' && kind[0] != 'r' || !strings.HasPrefix(file, "/") {
			out.WriteString(line)
			continue
		}
		target, ours := TargetPath(file)
		if !ours {
			target = file
		}
		if !ours && f.opts.Probed != nil {
			if e := f.opts.Probed(file); e != 0 {
				return nil, e
			}
		}
		out.WriteString(kind + " " + target + rest[len(file):])
	}
	return []byte(out.String()), 0
}
