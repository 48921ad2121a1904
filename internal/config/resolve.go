package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// machine is what ssh takes as a destination, with a user: user@host.
var machine = regexp.MustCompile(`^[\w.-]+@[\w.-]+$`)

// Resolver finds what the name of a target stands for.
type Resolver struct {
	Config *Config
	// Hosts returns the hosts that the user's ssh configuration names.
	Hosts func() []string
	// Serials returns the serials of the devices that adb sees.
	Serials func() []string
}

// Resolve returns the target of NAME, [user@]host or URL. A bare word is a
// name in the configuration, a host of ssh's configuration, or the serial of a
// device; if it could be several, that is an error which lists them. A word
// that is none of them is left to ssh, which may find it in the DNS.
func (r *Resolver) Resolve(s string) (Target, error) {
	if machine.MatchString(s) {
		return Target{URL: "ssh://" + s}, nil
	}
	if CheckName(s) != nil {
		return Target{URL: s}, nil
	}
	named, ok := r.Config.Targets[s]
	var found []Target
	if ok {
		found = append(found, named)
	}
	if slices.Contains(r.Hosts(), s) && !(ok && leadsTo(named.URL, s)) {
		found = append(found, Target{URL: "ssh://" + s})
	}
	if slices.Contains(r.Serials(), s) && !(ok && named.URL == "adb:"+s) {
		found = append(found, Target{URL: "adb:" + s})
	}
	switch len(found) {
	case 0:
		return Target{URL: "ssh://" + s}, nil
	case 1:
		return found[0], nil
	}
	var urls []string
	for _, t := range found {
		urls = append(urls, t.URL)
	}
	return Target{}, fmt.Errorf("%q could be each of %s: give one of these, or rename the target", s, strings.Join(urls, ", "))
}

// leadsTo says whether a URL is that of a host of ssh, whoever the user is and
// whatever the port.
func leadsTo(url, host string) bool {
	rest, ok := strings.CutPrefix(url, "ssh://")
	rest, _, _ = strings.Cut(rest, "?")
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	name, _, _ := strings.Cut(rest, ":")
	return ok && name == host
}

// SSHHosts returns the hosts that ssh's configuration files name without a
// wildcard. What cannot be read names none: ssh itself will complain.
func SSHHosts() []string {
	const system = "/etc/ssh"
	var hosts []string
	if home, err := os.UserHomeDir(); err == nil {
		hosts = hostsOf("config", filepath.Join(home, ".ssh"), home, 0)
	}
	return append(hosts, hostsOf("ssh_config", system, "", 0)...)
}

// maxIncludes is how deep files include others, as in ssh.
const maxIncludes = 16

// hostsOf returns the hosts of a file and of those that it includes; relative
// names are of dir. See ssh_config(5).
func hostsOf(path, dir, home string, depth int) []string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && home != "" {
		path = filepath.Join(home, rest)
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	var hosts []string
	files, _ := filepath.Glob(path)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			words := sshWords(line)
			if len(words) == 0 {
				continue
			}
			for _, word := range words[1:] {
				switch keyword := strings.ToLower(words[0]); {
				case keyword == "include" && depth < maxIncludes:
					hosts = append(hosts, hostsOf(word, dir, home, depth+1)...)
				case keyword == "host" && !strings.ContainsAny(word, "*?!"):
					hosts = append(hosts, word)
				}
			}
		}
	}
	return hosts
}

// sshWord is a keyword or an argument: quoted, or without blanks. An equals sign
// may stand behind a keyword.
var sshWord = regexp.MustCompile(`"([^"]*)"|[^\s="]+`)

// sshWords returns the keyword and the arguments of a line, none of a comment.
func sshWords(line string) []string {
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
		return nil
	}
	var words []string
	for _, m := range sshWord.FindAllStringSubmatch(line, -1) {
		if m[1] != "" {
			m[0] = m[1]
		}
		if strings.HasPrefix(m[0], "#") {
			break
		}
		words = append(words, m[0])
	}
	return words
}
