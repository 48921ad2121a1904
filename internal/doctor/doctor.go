// Package doctor finds out what a target allows: it looks at the target's
// files and tries its bpf(2), in a process that sees the target as any tool
// does, and judges from that which of the host's BPF tools will work.
package doctor

import (
	"fmt"
	"time"
)

// Facts are what only the other end of the connection knows: they are gathered
// before the examination.
type Facts struct {
	Arch    string        `json:"arch"`    // of the target, as Go spells it
	Host    string        `json:"host"`    // of this machine
	Machine string        `json:"machine"` // uname(2)
	Release string        `json:"release"`
	UID     uint32        `json:"uid"`          // of the daemon
	Caps    uint64        `json:"capabilities"` // of the daemon, effective
	Headers bool          `json:"headers"`      // the target's kernel headers can be had
	RTT     time.Duration `json:"rtt_ns"`
	Rate    float64       `json:"bytes_per_second"` // from the target, 0 if it was not measured
	Offset  time.Duration `json:"clock_offset_ns"`  // of the target's clock, CLOCK_REALTIME
}

// Finding is one thing that was looked at.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Value  string `json:"value"`
	Advice string `json:"advice,omitempty"` // what it means and what to do, if it is not OK
}

// Report is the result of an examination.
type Report struct {
	Target   string    `json:"target"`
	Facts    Facts     `json:"facts"`
	Findings []Finding `json:"findings"`
	Tools    []Verdict `json:"tools"`
}

// exam is an examination.
type exam struct {
	facts Facts
	can   map[Need]bool // what the checks made so far have found
}

// Examine examines the target that this process sees.
func Examine(target string, facts Facts) *Report {
	e := &exam{facts: facts, can: make(map[Need]bool)}
	r := &Report{Target: target, Facts: facts}
	for _, c := range checks {
		f := c.run(e)
		f.Name = c.name
		if c.need != "" {
			e.can[c.need] = f.OK
		}
		r.Findings = append(r.Findings, f)
	}
	r.Tools = e.tools(installed())
	return r
}

func good(format string, args ...any) Finding {
	return Finding{OK: true, Value: fmt.Sprintf(format, args...)}
}

func bad(value, advice string) Finding { return Finding{Value: value, Advice: advice} }

// Cause says in one line why tools that need something fail on a target.
func Cause(n Need) string {
	for _, c := range checks {
		if c.need == n {
			return c.lacks
		}
	}
	return ""
}
