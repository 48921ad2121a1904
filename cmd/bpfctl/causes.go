package main

import (
	"path"
	"sync"

	"bpfd/internal/doctor"
	"bpfd/internal/kernel"
	"bpfd/internal/wire"
)

// missed collects what a tool looked for and did not find on the target. If
// the tool fails, that is likely why.
type missed struct {
	byPath map[string]doctor.Need

	mu    sync.Mutex // protects following
	order []doctor.Need
	seen  map[doctor.Need]bool
}

func newMissed() *missed {
	m := &missed{byPath: make(map[string]doctor.Need), seen: make(map[doctor.Need]bool)}
	for need, paths := range doctor.Files {
		for _, path := range paths {
			m.byPath[path] = need
		}
	}
	// A kernel that was built without BTF lacks the directory as well, and a
	// path is looked up from its beginning.
	m.byPath[path.Dir(kernel.BTFPath)] = doctor.BTF
	return m
}

// note is told of a file that is not there.
func (m *missed) note(path string) {
	need, ok := m.byPath[path]
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.seen[need] {
		m.seen[need] = true
		m.order = append(m.order, need)
	}
}

// explain says what the target lacks, if the tool failed by itself.
func (m *missed) explain(c *connection, status int) {
	const first, last = 125, 128 + 64 // our own failures, and signals
	if status >= first && status <= last {
		return
	}
	for _, need := range m.order {
		if c.lacks(need) {
			failure(errTarget(c.target, errLacks(need)))
		}
	}
}

// lacks says whether a target has none of the files of a need: a tool may have
// looked for one of them and found another.
func (c *connection) lacks(need doctor.Need) bool {
	for _, path := range doctor.Files[need] {
		var reply wire.StatReply
		if c.client.Do(wire.TypeStat, &wire.Path{Path: path, Follow: true}, &reply) != nil || reply.Errno == 0 {
			return false
		}
	}
	return true
}
