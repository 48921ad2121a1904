package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kevinburke/ssh_config"
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

// leadsTo says whether a URL is that of a host of ssh, whoever the user is.
func leadsTo(url, host string) bool {
	rest, ok := strings.CutPrefix(url, "ssh://")
	rest, _, _ = strings.Cut(rest, "?")
	return ok && (rest == host || strings.HasSuffix(rest, "@"+host))
}

// SSHHosts returns the hosts that ssh's configuration files name without a
// wildcard. What cannot be read names none: ssh itself will complain.
func SSHHosts() []string {
	var paths []string
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".ssh", "config"))
	}
	var hosts []string
	for _, path := range append(paths, "/etc/ssh/ssh_config") {
		hosts = append(hosts, hostsOf(path)...)
	}
	return hosts
}

func hostsOf(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	c, err := ssh_config.Decode(f)
	if err != nil {
		return nil
	}
	var hosts []string
	for _, h := range c.Hosts {
		for _, p := range h.Patterns {
			if s := p.String(); !strings.ContainsAny(s, "*?!") {
				hosts = append(hosts, s)
			}
		}
	}
	return hosts
}
