package config

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/remote"
)

const (
	maxAnswer    = 1 << 20          // bytes of `ssh -G`; a usual answer has 5 kB
	queryTimeout = 20 * time.Second // ssh -G may look up names or run Match exec
)

var errSlow = fmt.Errorf("no answer within %s; is a Match exec hanging?", queryTimeout)

// runSSH runs the ssh program and returns its standard output.
func runSSH(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout, errSlow)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = childenv.Clean()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if said := complaint(stderr.String()); said != "" {
			return nil, errors.New(said)
		}
		return nil, err
	}
	return out, nil
}

// complaint picks the line of ssh's that names the fault: the first that is
// not about the terminal.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "Pseudo-terminal") && checkPlain(line) == nil {
			return line
		}
	}
	return ""
}

// queryArgs is the command line that asks about q; file is the -F argument or
// "" for the usual files. The name follows "--", so it cannot be an option.
func queryArgs(q query, file string) []string {
	args := []string{"-G", "-T"}
	if file != "" {
		args = append(args, "-F", file)
	}
	if q.hostName != "" {
		args = append(args, "-o", "HostName="+strings.ReplaceAll(q.hostName, "%", "%%"))
	}
	if q.user != "" {
		args = append(args, "-l", q.user)
	}
	if q.port != 0 {
		args = append(args, "-p", strconv.Itoa(q.port))
	}
	return append(args, "--", q.name)
}

// askSSH asks the ssh program about q, then again with other defaults to learn
// what is configured: see [Resolver.probe].
func (r *Resolver) askSSH(ctx context.Context, q query) (settings, error) {
	plain, err := r.ask(ctx, q, r.SSHConfig)
	if err != nil {
		return settings{}, err
	}
	withHost := probesHost(q, plain)
	unset, err := r.probe(ctx, q, r.probeFile(withHost))
	if err != nil {
		return settings{}, err
	}
	hostSet := hostNameSet(plain, unset, withHost, q.name)
	if slices.Contains(unset.identities, probeFinal) {
		if unset, err = r.probe(ctx, q, r.finalProbeFile()); err != nil {
			return settings{}, err
		}
	}
	s := compare(plain, unset, sshDefaults(q.name, r.User))
	s.hostName.set = hostSet
	s.others, err = r.changed(ctx, plain)
	return s, err
}

// changed gives the keywords of an answer that some file set: those whose value is
// not the one that ssh has without any file.
func (r *Resolver) changed(ctx context.Context, a answer) (map[string][]string, error) {
	own, err := r.unread(ctx)
	if err != nil {
		return nil, err
	}
	changed := maps.Clone(a.all)
	maps.DeleteFunc(changed, func(keyword string, values []string) bool {
		return slices.Equal(values, own.all[keyword])
	})
	return changed, nil
}

// unread is what ssh says without any file, asked once.
func (r *Resolver) unread(ctx context.Context) (answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil {
		own, err := r.ask(ctx, query{name: probeName}, remote.None)
		if err != nil {
			return answer{}, err
		}
		r.own = &own
	}
	return *r.own, nil
}

func (r *Resolver) ask(ctx context.Context, q query, file string) (answer, error) {
	out, err := r.Run(ctx, r.Program, queryArgs(q, file)...)
	if err == nil {
		var a answer
		if a, err = parseAnswer(out); err == nil {
			return a, nil
		}
	}
	if errors.Is(err, context.Canceled) {
		return answer{}, fmt.Errorf("asking ssh_config about host %q: %w", q.name, err)
	}
	failure := &SSHConfigError{Host: q.name, Problem: fmt.Sprintf("%s -G: %v", r.Program, err), Err: err}
	if strings.Contains(err.Error(), "No user exists for uid") {
		failure.Next = next.Say("give uid %d a line in /etc/passwd, or go without ssh_config: set VPS_SSH_CONFIG=none and HOME", r.UID)
	}
	return answer{}, failure
}

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

// configFile is the first file that ssh would read; "" if there is none. Then
// nothing is configured, and a program need not be started to say so.
func (r *Resolver) configFile() string {
	for _, path := range r.configFiles() {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
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

// answer is what `ssh -G` prints of the keywords that count here.
type answer struct {
	hostName         string
	user             string
	port             int
	identities       []string // ssh's own list where none is configured
	identitiesOnly   bool
	identityAgent    string
	hostKeyAlias     string
	knownHosts       []string
	globalKnownHosts []string
	proxyJump        string
	proxyCommand     string
	all              map[string][]string // every keyword, lower-case, with its values
}

var errNotSSH = errors.New("its answer to -G names no hostname, user and port: not OpenSSH?")

// parseAnswer reads the lines "keyword value" that `ssh -G` prints.
func parseAnswer(out []byte) (answer, error) {
	a := answer{all: map[string][]string{}}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		keyword, value, _ := strings.Cut(strings.TrimRight(lines.Text(), "\r"), " ")
		if err := checkPlain(value); err != nil {
			return answer{}, fmt.Errorf("%s: %w", keyword, err)
		}
		keyword = strings.ToLower(keyword)
		a.all[keyword] = append(a.all[keyword], value)
		if err := a.take(keyword, value); err != nil {
			return answer{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return answer{}, fmt.Errorf("its answer to -G: %w", err)
	}
	if a.hostName == "" || a.user == "" || a.port == 0 {
		return answer{}, errNotSSH
	}
	return a, nil
}

func (a *answer) take(keyword, value string) (err error) {
	switch keyword {
	case "hostname":
		a.hostName = value
	case "user":
		a.user = value
	case "port":
		a.port, err = parsePort(value)
	case "identityfile":
		a.identities = append(a.identities, value)
	case "identitiesonly":
		a.identitiesOnly = value == "yes"
	case "identityagent":
		a.identityAgent = value
	case "hostkeyalias":
		a.hostKeyAlias = value
	case "userknownhostsfile":
		a.knownHosts = splitPaths(value)
	case "globalknownhostsfile":
		a.globalKnownHosts = splitPaths(value)
	case "proxyjump":
		a.proxyJump = unlessNone(value)
	case "proxycommand":
		a.proxyCommand = unlessNone(value)
	}
	return err
}

func unlessNone(s string) string {
	if strings.EqualFold(s, "none") {
		return ""
	}
	return s
}

// splitPaths divides a list of paths that `ssh -G` joined by spaces without
// quoting. A word that does not begin like a path belongs to the one before
// it, which had a space in its name.
func splitPaths(s string) []string {
	if strings.EqualFold(s, remote.None) {
		return []string{remote.None}
	}
	var paths []string
	for i, word := range strings.Split(s, " ") {
		if i == 0 || word != "" && strings.ContainsRune("/~%$", rune(word[0])) {
			paths = append(paths, word)
			continue
		}
		paths[len(paths)-1] += " " + word
	}
	return paths
}

// isAddress reports a literal IP address, with or without a zone.
func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// setting is one value of ssh_config: ssh's default unless set.
type setting[T any] struct {
	value T
	set   bool // configured, rather than ssh's default
}

// or is s where it is configured, else other.
func (s setting[T]) or(other setting[T]) setting[T] {
	if s.set || !other.set {
		return s
	}
	return other
}

// settings is what ssh_config says of one name. Paths are as ssh gives them:
// `ssh -G` has expanded some.
type settings struct {
	hostName         setting[string]
	user             setting[string] // default: the local login name
	port             setting[int]    // default: 22
	identities       setting[[]string]
	identitiesOnly   setting[bool]
	identityAgent    setting[string] // "none", "SSH_AUTH_SOCK", "$NAME" or a path
	hostKeyAlias     setting[string]
	knownHosts       setting[[]string]
	globalKnownHosts setting[[]string]
	proxyJump        setting[string] // "none" when a proxy was switched off
	proxyCommand     setting[string]
	others           map[string][]string // further keywords whose value is not ssh's own default
}

// sshPort is where ssh connects when nothing is configured.
const sshPort = 22

// sshDefaults is what ssh does for a name of which no file says anything.
func sshDefaults(name, login string) settings {
	return settings{
		hostName:         setting[string]{value: name},
		user:             setting[string]{value: login},
		port:             setting[int]{value: sshPort},
		knownHosts:       setting[[]string]{value: []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}},
		globalKnownHosts: setting[[]string]{value: []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}},
		others:           map[string][]string{},
	}
}

// unconfigured is the answer to q where there is no ssh_config.
func (r *Resolver) unconfigured(q query) settings {
	s := sshDefaults(q.name, r.User)
	if !isAddress(q.name) {
		s.hostName.value = strings.ToLower(q.name)
	}
	if q.hostName != "" {
		s.hostName = setting[string]{q.hostName, true}
	}
	if q.user != "" {
		s.user = setting[string]{q.user, true}
	}
	if q.port != 0 {
		s.port = setting[int]{q.port, true}
	}
	return s
}

// or fills what s leaves unset from other. The two proxies are one setting.
func (s settings) or(other settings) settings {
	if !s.proxyJump.set && !s.proxyCommand.set {
		s.proxyJump, s.proxyCommand = other.proxyJump, other.proxyCommand
	}
	s.hostName = s.hostName.or(other.hostName)
	s.user = s.user.or(other.user)
	s.port = s.port.or(other.port)
	s.identities = s.identities.or(other.identities)
	s.identitiesOnly = s.identitiesOnly.or(other.identitiesOnly)
	s.identityAgent = s.identityAgent.or(other.identityAgent)
	s.hostKeyAlias = s.hostKeyAlias.or(other.hostKeyAlias)
	s.knownHosts = s.knownHosts.or(other.knownHosts)
	s.globalKnownHosts = s.globalKnownHosts.or(other.globalKnownHosts)
	others := maps.Clone(other.others)
	maps.Copy(others, s.others)
	s.others = others
	return s
}

// query is one question to ssh_config. Empty fields are not given to ssh.
type query struct {
	name     string // as on ssh's command line, without user and port
	hostName string // already known, as with -o HostName=
	user     string // already known, as with -l
	port     int    // already known, as with -p
}

// aliases lists the plain names of Host lines, to tell a person who mistyped one.
// Nothing is decided by them.
func (r *Resolver) aliases() (names []string) {
	seen := map[string]bool{}
	var read func(pattern string)
	read = func(pattern string) {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			data, err := readLimited(path)
			if err != nil || seen[path] || len(seen) > 100 {
				continue
			}
			seen[path] = true
			for line := range strings.Lines(string(data)) {
				keyword, rest, _ := strings.Cut(strings.TrimLeft(line, blanks), " ")
				for _, word := range strings.Fields(rest) {
					word = strings.Trim(word, `"'`)
					switch {
					case strings.EqualFold(keyword, "Host") && !strings.ContainsAny(word, "*?!"):
						names = append(names, word)
					case strings.EqualFold(keyword, "Include"):
						if word, err = (expander{home: r.Home, homeOf: homeOf}).tilde(word); err == nil {
							read(absolute(word, filepath.Join(r.Home, ".ssh")))
						}
					}
				}
			}
		}
	}
	for _, path := range r.configFiles() {
		read(path)
	}
	return names
}

func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

const blanks = " \t\r\n\f"
