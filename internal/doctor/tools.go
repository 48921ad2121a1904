package doctor

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Verdict says whether a tool will work.
type Verdict struct {
	Tool   string `json:"tool"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // what is missing, and what to do
}

// tool is a BPF tool of this machine and what it says of itself.
type tool struct {
	name string
	path string
	look func(*exam, []byte) string // what is missing, "" if nothing
}

// families are the tools that are looked for, and how their needs are found.
var families = []struct {
	pattern *regexp.Regexp
	look    func(*exam, []byte) string
}{
	{regexp.MustCompile(`^bpftool$`), nothing},
	{regexp.MustCompile(`^bpftrace$`), bpftrace},
	{regexp.MustCompile(`-bpfcc$`), bcc},
	{regexp.MustCompile(`\.bt$`), script},
}

// installed finds the tools in PATH.
func installed() []tool {
	var list []tool
	seen := make(map[string]bool)
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			look := lookFor(e.Name(), path)
			if look == nil || seen[e.Name()] {
				continue
			}
			seen[e.Name()] = true
			list = append(list, tool{e.Name(), path, look})
		}
	}
	slices.SortFunc(list, func(a, b tool) int { return strings.Compare(a.name, b.name) })
	return list
}

// lookFor returns how to find the needs of a program, nil if it is no BPF tool.
func lookFor(name, path string) func(*exam, []byte) string {
	for _, f := range families {
		if f.pattern.MatchString(name) {
			return f.look
		}
	}
	if slices.Contains(libbpfTools, name) {
		// Other programs have such names as well.
		if b, err := os.ReadFile(path); err == nil && len(embedded(b)) > 0 {
			return libbpf
		}
	}
	return nil
}

func (e *exam) tools(list []tool) []Verdict {
	var all []Verdict
	for _, t := range list {
		b, err := os.ReadFile(t.path)
		if err != nil {
			continue
		}
		reason := Cause(BPF)
		if e.can[BPF] {
			reason = t.look(e, b)
		}
		all = append(all, Verdict{t.name, reason == "", reason})
	}
	return all
}

func nothing(*exam, []byte) string { return "" }

// first returns the cause for the first need that the target does not meet.
func (e *exam) first(needs ...Need) string {
	for _, n := range needs {
		if !e.can[n] {
			return Cause(n)
		}
	}
	return ""
}

func bpftrace(e *exam, _ []byte) string { return e.first(Tracefs) }

// probes of a bpftrace script, by their prefix.
var probes = []struct {
	expr *regexp.Regexp
	need Need
}{
	{regexp.MustCompile(`(?m)^k(ret)?probe:`), Kprobes},
	{regexp.MustCompile(`(?m)^u(ret)?probe:`), Uprobes},
	{regexp.MustCompile(`(?m)^tracepoint:syscalls:`), Syscalls},
	{regexp.MustCompile(`(?m)^tracepoint:`), Tracefs},
	{regexp.MustCompile(`(?m)^kr?e?t?func:|^fentry:|^fexit:`), Fentry},
}

func script(e *exam, b []byte) string {
	for _, p := range probes {
		if p.expr.Match(b) && !e.can[p.need] {
			return Cause(p.need)
		}
	}
	if bytes.Contains(b, []byte("#include <linux/")) && !e.can[BTF] {
		return e.first(Headers)
	}
	return ""
}

// Ways in which bcc's tools attach. A tool that has several chooses what the
// kernel can do.
var bccWays = []struct {
	expr *regexp.Regexp
	need Need
}{
	{regexp.MustCompile(`attach_k(ret)?probe|\bkr?e?t?probe__`), Kprobes},
	{regexp.MustCompile(`RAW_TRACEPOINT_PROBE|attach_raw_tracepoint`), BPF},
	{regexp.MustCompile(`TRACEPOINT_PROBE\(syscalls|sys_(enter|exit)"`), Syscalls},
	{regexp.MustCompile(`TRACEPOINT_PROBE|attach_tracepoint`), Tracefs},
	{regexp.MustCompile(`attach_u(ret)?probe|USDT\(`), Uprobes},
	{regexp.MustCompile(`KFUNC_PROBE|KRETFUNC_PROBE`), Fentry},
	{regexp.MustCompile(`attach_perf_event|attach_socket|attach_xdp`), BPF},
}

// bccCompiles matches tools that compile, by themselves or by another one that
// they call. The others, as bpflist and tplist, only read files.
var bccCompiles = regexp.MustCompile(`\bBPF\(|\$lib/`)

func bcc(e *exam, b []byte) string {
	if !bccCompiles.Match(b) {
		return e.first(Tracefs)
	}
	if !e.can[Headers] {
		return Cause(Headers)
	}
	missing := ""
	for _, w := range bccWays {
		switch {
		case !w.expr.Match(b):
		case e.can[w.need]:
			return ""
		case missing == "":
			missing = Cause(w.need)
		}
	}
	return missing
}

// sections of programs, by what they are attached to. Those with registers
// read the host's when a probe fires.
var sections = []struct {
	prefix    string
	need      Need
	registers bool
}{
	{"kprobe", Kprobes, true}, {"kretprobe", Kprobes, true}, {"ksyscall", Kprobes, true}, {"kretsyscall", Kprobes, true},
	{"uprobe", Uprobes, true}, {"uretprobe", Uprobes, true}, {"usdt", Uprobes, true},
	{"fentry", Fentry, false}, {"fexit", Fentry, false},
	{"tp/syscalls", Syscalls, false}, {"tracepoint/syscalls", Syscalls, false},
	{"tp_btf", BTF, false}, {"raw_tp", BPF, false}, {"tp/", Tracefs, false}, {"tracepoint/", Tracefs, false},
	{"perf_event", BPF, false}, {"iter/", BTF, false},
}

// libbpf looks at the programs inside of a tool that is linked with libbpf. It
// chooses among them, as bcc's tools do.
func libbpf(e *exam, b []byte) string {
	if !e.can[BTF] {
		return Cause(BTF)
	}
	missing := ""
	for _, name := range embedded(b) {
		for _, s := range sections {
			if !strings.HasPrefix(name, s.prefix) {
				continue
			}
			switch {
			case s.registers && e.facts.Arch != e.facts.Host:
				missing = "it was compiled for the registers of " + e.facts.Host + ", the target is " + e.facts.Arch + ": use the tool of bcc, or bpfctl run --registers"
			case e.can[s.need]:
				return ""
			case missing == "":
				missing = Cause(s.need)
			}
			break
		}
	}
	return missing
}

const emBPF = 247 // EM_BPF

// embedded returns the names of the sections of the BPF objects inside of a
// program.
func embedded(b []byte) []string {
	var names []string
	for off := 0; ; {
		i := bytes.Index(b[off+1:], []byte(elf.ELFMAG))
		if i < 0 {
			return names
		}
		off += 1 + i
		if len(b) < off+64 || b[off+18] != emBPF {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(b[off:]))
		if err != nil {
			continue
		}
		for _, s := range f.Sections {
			if s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 {
				names = append(names, s.Name)
			}
		}
		f.Close()
	}
}

// libbpfTools are the tools of bcc's libbpf-tools directory.
var libbpfTools = []string{
	"bashreadline", "bindsnoop", "biolatency", "biopattern", "biosnoop", "biostacks", "biotop", "bitesize", "btrfsdist",
	"btrfsslower", "cachestat", "capable", "cpudist", "cpufreq", "drsnoop", "execsnoop", "exitsnoop", "ext4dist",
	"ext4slower", "f2fsdist", "f2fsslower", "filelife", "filetop", "fsdist", "fsslower", "funclatency", "futexctn",
	"gethostlatency", "hardirqs", "javagc", "killsnoop", "klockstat", "ksnoop", "llcstat", "mdflush", "memleak", "mountsnoop",
	"nfsdist", "nfsslower", "numamove", "offcputime", "oomkill", "opensnoop", "profile", "readahead", "runqlat",
	"runqlen", "runqslower", "sigsnoop", "slabratetop", "softirqs", "solisten", "statsnoop", "syncsnoop", "syscount",
	"tcpconnect", "tcpconnlat", "tcplife", "tcppktlat", "tcprtt", "tcpstates", "tcpsynbl", "tcptop", "tcptracer",
	"vfsstat", "wakeuptime", "xfsdist", "xfsslower",
}
