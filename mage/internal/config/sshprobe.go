package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The other defaults of a probe. No value is excluded by them: one that is
// really configured shows in both answers.
const (
	probePort = 65533
	probeName = "vps-unset"
	probePath = "/vps-unset"
	// probeFinal shows in an answer when ssh read its files a second time.
	probeFinal = "/vps-final"
	probeHost  = "2001:db8:7670:73::1" // an address, so that no name is looked up
)

// probe asks the same question of the same files with other defaults behind
// them: what a file sets is the same in both answers, what none sets differs.
func (r *Resolver) probe(ctx context.Context, q query, text string) (answer, error) {
	file, err := os.CreateTemp("", "vps-ssh-config-*")
	if err != nil {
		return answer{}, fmt.Errorf("asking ssh_config about host %q: %w", q.name, err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return answer{}, fmt.Errorf("asking ssh_config about host %q: %w", q.name, err)
	}
	return r.ask(ctx, q, file.Name())
}

// probesHost reports whether a probe asks for HostName too, which it does only
// where it must, because Match sees the other name: for a bare word that a file
// may or may not know, and for a number that ssh completes (203.0.113 is
// 203.0.0.113 to it) but which is more likely a typing error.
func probesHost(q query, plain answer) bool {
	if q.hostName != "" || isAddress(q.name) {
		return false
	}
	return digitsOnly(lastLabel(q.name)) || !looksResolvable(q.name) && strings.EqualFold(plain.hostName, q.name)
}

// probeFile is the text of a probe: the files that ssh reads, then defaults.
// "Match canonical" holds in a second reading only, and does not ask for one.
func (r *Resolver) probeFile(withHost bool) string {
	text := r.includes()
	if withHost {
		text += "HostName " + probeHost + "\n"
	}
	return text + probeDefaults + "Match canonical all\nIdentityFile " + probeFinal + "\n"
}

// finalProbeFile is for files that ssh reads twice: defaults that stood behind
// the first reading would hide what the second one sets.
func (r *Resolver) finalProbeFile() string {
	return r.includes() + "Match canonical all\n" + probeDefaults
}

var probeDefaults = fmt.Sprintf(`Port %d
User %s
HostKeyAlias %[2]s
ProxyJump %[2]s
IdentitiesOnly yes
IdentityFile %[3]s
IdentityAgent %[3]s
UserKnownHostsFile %[3]s
GlobalKnownHostsFile %[3]s
`, probePort, probeName, probePath)

func (r *Resolver) includes() string {
	var b strings.Builder
	for _, path := range r.configFiles() {
		fmt.Fprintf(&b, "Include \"%s\"\n", includeEscaper.Replace(path))
	}
	return b.String()
}

// includeEscaper keeps a path from being a pattern or ending its quotes.
var includeEscaper = strings.NewReplacer(`\`, `\\\\`, `"`, `\"`, "*", `\\*`, "?", `\\?`, "[", `\\[`)

// configFiles are the files that ssh reads, the user's first.
func (r *Resolver) configFiles() []string {
	switch r.SSHConfig {
	case "":
		return []string{filepath.Join(r.Home, ".ssh/config"), r.SystemSSHConfig}
	case "none":
		return nil
	}
	return []string{r.SSHConfig}
}

// hasFiles says whether there is a file that ssh would read. Without any, nothing
// is configured, and a program need not be started, twice, to say so.
func (r *Resolver) hasFiles() bool {
	return slices.ContainsFunc(r.configFiles(), func(path string) bool {
		_, err := os.Stat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// systemSSHConfig finds the system's file. A program that the system did not
// install has its own beside it.
func systemSSHConfig(program string) string {
	const usual = "/etc/ssh/ssh_config"
	if program == "" {
		return usual
	}
	beside := filepath.Join(filepath.Dir(filepath.Dir(program)), "etc/ssh/ssh_config")
	if _, err := os.Stat(beside); err != nil {
		return usual
	}
	return beside
}

// hostNameSet reports whether a file names the host's address, rather than ssh
// repeating the name. Where the probe asked it, its answer decides.
func hostNameSet(plain, probe answer, probed bool, name string) bool {
	if probed {
		return plain.hostName == probe.hostName
	}
	return canonicalAddress(plain.hostName) != canonicalAddress(name)
}

// compare finds what is configured. A value also counts as configured when it
// is not ssh's default: a Match may have made the probe miss it.
func compare(plain, probe answer, ssh settings) settings {
	s := settings{
		hostName:       setting[string]{value: plain.hostName},
		user:           either(plain.user, probe.user, ssh.user.value),
		port:           either(plain.port, probe.port, ssh.port.value),
		identitiesOnly: either(plain.identitiesOnly, probe.identitiesOnly, false),
		identityAgent:  either(plain.identityAgent, probe.identityAgent, ""),
		hostKeyAlias:   either(plain.hostKeyAlias, probe.hostKeyAlias, ""),
		proxyCommand:   setting[string]{plain.proxyCommand, plain.proxyCommand != ""},
		knownHosts: setting[[]string]{plain.knownHosts,
			slices.Equal(plain.knownHosts, probe.knownHosts)},
		globalKnownHosts: setting[[]string]{plain.globalKnownHosts,
			slices.Equal(plain.globalKnownHosts, probe.globalKnownHosts)},
	}
	if !s.proxyCommand.set {
		s.proxyJump = either(plain.proxyJump, probe.proxyJump, "")
		if s.proxyJump.set && s.proxyJump.value == "" {
			s.proxyJump.value = "none"
		}
	}
	own := func(file string) bool { return file == probePath || file == probeFinal }
	if slices.ContainsFunc(probe.identities, func(file string) bool { return !own(file) }) {
		s.identities = setting[[]string]{plain.identities, true}
	}
	return s
}

func either[T comparable](plain, probe, byDefault T) setting[T] {
	return setting[T]{plain, plain == probe || plain != byDefault}
}
