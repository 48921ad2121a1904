package main

import (
	"slices"
	"strings"
	"testing"
)

func TestPIDsIn(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"opensnoop -p 12", "12"},
		{"opensnoop-bpfcc -x -p12 -d 1", "12"},
		{"/usr/sbin/trace-bpfcc --pid=12 do_sys_open", "12"},
		{"offcputime --pid 12 3", "12"},
		{"execsnoop -p 12,13", "12 13"},
		{"tcprtt-bpfcc -p 80", ""}, // a port
		{"bpftool -p prog list", ""},
		{"opensnoop -p", ""},
		{"opensnoop -p $pid", ""},
		{"opensnoop -p 0", ""},
		{"opensnoop -T 12", ""},
		{"opensnoop", ""},
	} {
		if got := pidsIn(strings.Fields(c.line)); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: %v", c.line, got)
		}
	}
}
