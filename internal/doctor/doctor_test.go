package doctor

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"bpfd/test/testenv"
)

func target(host, arch string, can ...Need) *exam {
	e := &exam{facts: Facts{Host: host, Arch: arch}, can: make(map[Need]bool)}
	for _, n := range can {
		e.can[n] = true
	}
	return e
}

var all = []Need{BPF, BTF, Headers, Kprobes, Uprobes, Tracefs, Syscalls, Fentry, RingBuffer}

func without(gone ...Need) []Need {
	var left []Need
	for _, n := range all {
		if !strings.Contains(strings.Join(asStrings(gone), ","), string(n)) {
			left = append(left, n)
		}
	}
	return left
}

func asStrings(list []Need) (s []string) {
	for _, n := range list {
		s = append(s, string(n))
	}
	return s
}

func TestBCC(t *testing.T) {
	const (
		probe = `b = BPF(text=prog); b.attach_kprobe(event="vfs_read", fn_name="f")`
		both  = "b = BPF(text=x)\nif BPF.support_raw_tracepoint():\n  x = 'RAW_TRACEPOINT_PROBE(sched_switch)'\nelse:\n  b.attach_kprobe()"
		calls = `BPF(text="TRACEPOINT_PROBE(syscalls, sys_enter_open)")`
	)
	for _, c := range []struct {
		text string
		can  []Need
		want Need
	}{
		{probe, all, ""},
		{probe, without(Kprobes), Kprobes},
		{both, without(Kprobes), ""},
		{calls, without(Kprobes), ""},
		{calls, without(Syscalls, Tracefs), Syscalls},
		{probe, without(Headers), Headers},
		{both, without(Headers), Headers},
		{"#!/bin/bash\n$lib/ucalls -l java", without(Headers), Headers},
		{"from bcc import USDT\nprint()", without(Headers, BTF), ""},
		{"from bcc import USDT\nprint()", without(Tracefs), Tracefs},
	} {
		if got := bcc(target("amd64", "amd64", c.can...), []byte(c.text)); got != Cause(c.want) {
			t.Errorf("%s: %q", c.text, got)
		}
	}
}

func TestScript(t *testing.T) {
	for _, c := range []struct {
		text string
		can  []Need
		want Need
	}{
		{"BEGIN { }\nkprobe:vfs_read { }", without(Kprobes), Kprobes},
		{"tracepoint:syscalls:sys_enter_open { }", without(Syscalls), Syscalls},
		{"tracepoint:sched:sched_switch { }", without(Syscalls, Kprobes), ""},
		{"#include <linux/sched.h>\ntracepoint:a:b { }", without(Headers), ""},
		{"#include <linux/sched.h>\ntracepoint:a:b { }", without(Headers, BTF), Headers},
	} {
		if got := script(target("amd64", "amd64", c.can...), []byte(c.text)); got != Cause(c.want) {
			t.Errorf("%s: %q", c.text, got)
		}
	}
}

// The programs inside of a real tool are found, and what they need.
func TestLibbpf(t *testing.T) {
	path, err := exec.LookPath("tcpconnect")
	if err != nil {
		testenv.Missing(t, "libbpf-tools")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Join(embedded(b), " ")
	if !strings.Contains(names, "kprobe/tcp_v4_connect") {
		t.Fatalf("sections: %q", names)
	}
	for _, c := range []struct {
		e    *exam
		want string
	}{
		{target("amd64", "amd64", all...), ""},
		{target("amd64", "amd64", without(Kprobes)...), "has no kprobes"},
		{target("amd64", "amd64", without(BTF)...), "has no BTF"},
		{target("amd64", "arm64", all...), "compiled for the registers of amd64"},
	} {
		got := libbpf(c.e, b)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if found := embedded([]byte(strings.Repeat("\x7fELF", 20))); len(found) > 0 {
		t.Errorf("sections in garbage: %q", found)
	}
}

// Every need that tools have is found by a check, which says what it means.
func TestCauses(t *testing.T) {
	for _, n := range all {
		if Cause(n) == "" {
			t.Errorf("%s has no cause", n)
		}
	}
	for n, paths := range Files {
		if Cause(n) == "" || len(paths) == 0 {
			t.Errorf("%s: %v", n, paths)
		}
	}
}
