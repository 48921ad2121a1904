package transport

import (
	"strings"
	"testing"
)

// What is no target is refused before anything is run, and the words say what
// would be one.
func TestParseRefused(t *testing.T) {
	for url, want := range map[string]string{
		"":                                 "is no target; targets are shell:, ",
		"board":                            "is no target",
		"gopher://x":                       "is no target",
		"SSH://host":                       "is no target",
		"ssh:host":                         "want ssh://[user@]host[:port]",
		"ssh://":                           "want ssh://[user@]host[:port]",
		"ssh://host/path":                  "want ssh://[user@]host[:port]",
		"ssh://host#x":                     "want ssh://[user@]host[:port]",
		"ssh://host:port":                  "invalid port",
		"ssh://u:secret@host":              "no password may stand here",
		"ssh://-oProxyCommand=x":           "cannot begin with a hyphen",
		"ssh://-l@host":                    "cannot begin with a hyphen",
		"ssh://host?su=doas":               `su="doas": want auto, none, sudo or su`,
		"ssh://host?path=bin":              "want an absolute path",
		"ssh://host?path=/x%20y":           "want an absolute path without special characters",
		"ssh://host?path=/$(id)":           "want an absolute path without special characters",
		"ssh://host?path=/a%27b":           "want an absolute path without special characters",
		"ssh://host?path=/a%0Ab":           "want an absolute path without special characters",
		"ssh://host?port=22":               `unknown option "port"; there are su and path`,
		"adb:x?su":                         "want auto, none, sudo or su",
		"tcp:host:1":                       "want tcp://HOST:PORT",
		"tcp://host":                       "want tcp://HOST:PORT",
		"tcp://:1":                         "want tcp://HOST:PORT",
		"tcp://host:":                      "want tcp://HOST:PORT",
		"tcp://::1:80":                     "want tcp://HOST:PORT",
		"tcp://host:65536":                 "port 65536: ports are from 1 to 65535",
		"tcp://host:99999999999999999999":  "ports are from 1 to 65535",
		"ssh://host:0":                     "port 0: ports are from 1 to 65535",
		"unix:":                            "the path of a socket is missing",
		"unix:" + strings.Repeat("x", 108): "longer than a socket's path may be",
		"vsock:3":                          "want two numbers",
		"vsock:three:1":                    "want two numbers",
		"vsock:3:-1":                       "want two numbers",
		"vsock:4294967296:1":               "want two numbers",
	} {
		target, err := Parse(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", url, target, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than a line: %v", url, err)
		}
	}
}

func TestParse(t *testing.T) {
	for url, want := range map[string]dialer{
		"shell:":                    shell(""),
		"shell:kubectl exec a -- b": shell("kubectl exec a -- b"),
		"tcp://[::1]:80":            tcpAddress{"::1", "80"},
		"unix:/run/x":               unixSocket("/run/x"),
		"vsock:3:4294967295":        vsock{3, 1<<32 - 1},
	} {
		if target, err := Parse(url); err != nil || target.dialer != want || target.URL != url {
			t.Errorf("%q: %+v, %v", url, target, err)
		}
	}
	for url, want := range map[string]remote{
		"ssh://host":                         {"sudo", "", sshHost{"", "host", ""}},
		"ssh://u@host:2222/?su=none":         {"none", "", sshHost{"u", "host", "2222"}},
		"ssh://[fe80::1]?path=/data/x&su=su": {"su", "/data/x", sshHost{"", "fe80::1", ""}},
		"ssh://host?su=auto":                 {"sudo", "", sshHost{"", "host", ""}},
	} {
		target, err := Parse(url)
		if r, ok := target.dialer.(*remote); err != nil || !ok || *r != want {
			t.Errorf("%q: %+v, %v", url, target.dialer, err)
		}
	}
}

// ssh gets the host behind what ends its options, and the script as one word.
func TestSSHCommand(t *testing.T) {
	t.Setenv("BPFD_SSH", "my-ssh -F file")
	args := sshHost{"u", "host", "22"}.command("the script").Args
	line := strings.Join(args, "|")
	if !strings.Contains(line, "|my-ssh|-F|file|") || !strings.HasSuffix(line, "|-l|u|-p|22|--|host|the script") {
		t.Errorf("%q", args)
	}
}

// A login shell of any kind takes the script as one quoted word: see mark.
func TestScriptQuoting(t *testing.T) {
	t.Setenv("BPFD_AGENT", "/bin/true") // one program for all machines
	for name, action := range map[string]string{"run": actRun, "push": actPush, "status": actStatus, "remove": actRemove} {
		for _, su := range []string{"none", "sudo", "su", "sudo su"} {
			line := command(action, su, "/data/local/tmp")
			words := strings.Split(line, "'")
			if len(words) != 7 || words[0] != "exec sh -c " || words[2] != " bpfd " || words[4] != " " || words[5] != su || words[6] != "" {
				t.Errorf("%s, %s: the words are %q", name, su, words)
			}
			if i := strings.IndexAny(line, "!\n\r\x00"); i >= 0 {
				t.Errorf("%s, %s: there is %q in %q", name, su, line[i], line)
			}
			if strings.Contains(line, "@names") {
				t.Errorf("%s: the names of programs were not put in", name)
			}
		}
	}
}

func TestDevices(t *testing.T) {
	out := "* daemon started successfully\nList of devices attached\nR58N12\tdevice\n127.0.0.1:5555\tunauthorized\r\n\n"
	states, list := devices(out)
	if len(states) != 2 || states["R58N12"] != "device" || states["127.0.0.1:5555"] != "unauthorized" {
		t.Errorf("%v", states)
	}
	if want := "adb:R58N12 (device), adb:127.0.0.1:5555 (unauthorized)"; list != want {
		t.Errorf("%q", list)
	}
	if states, list := devices("List of devices attached\n"); len(states) > 0 || list != "" {
		t.Errorf("no device: %v, %q", states, list)
	}
}

// What went wrong on the target is said in words; what nobody knows, as it is.
func TestFailure(t *testing.T) {
	for said, want := range map[string]string{
		"arch mips":           "there is no bpfd for the target's machine type, mips",
		"root u0_a1":          "user u0_a1 on the target is not root",
		"become by su: %s %d": "cannot become root on the target by su: %s %d; permit",
		"nonsense":            `the target says "nonsense"`,
		"":                    `the target says ""`,
	} {
		if got := failure(said).Error(); !strings.HasPrefix(got, want) || strings.Contains(got, "MISSING") || strings.Contains(got, "EXTRA") {
			t.Errorf("%q: %s", said, got)
		}
	}
}

func TestTail(t *testing.T) {
	long := strings.Repeat("x", 3*tailSize)
	for in, want := range map[string]string{
		"": "", "\n\n": "", "one\ntwo\n": "two", "one\ntwo  \n\n": "two", "one\r\n": "one", long + "\nend\n": "end", long: long[:tailSize],
	} {
		var s tail
		for i := 0; i < len(in); i += 1000 {
			s.Write([]byte(in[i:min(len(in), i+1000)]))
		}
		if got := s.last(); got != want {
			t.Errorf("%.20q: %.20q", in, got)
		}
	}
}
