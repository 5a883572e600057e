package config

import (
	"fmt"
	"github.com/dagadbm/vps/mage/remote"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Host is one server with everything that connecting to it needs.
type Host struct {
	// Target is how SSH reaches it. Its Name is the name in vps.yaml, the alias of
	// ssh_config, or the literal address with the port if one was given; paths in
	// it are absolute. Its Jumps have no Jumps of their own.
	remote.Target

	// PortDeclared: vps.yaml, the argument or ssh_config names the port;
	// otherwise it is the default.
	PortDeclared bool
	System       string   // "x86", "arm", or "" to ask the server
	Flake        string   // flake output, or "" to derive it from the system
	Tags         []string // in the order of vps.yaml
	OwnAgeKey    bool     // it has an age key that no other machine has
	Listed       bool     // declared in vps.yaml
	Origin       string   // for messages: "vps.yaml:3", "ssh_config" or "argument"
}

// Endpoint is "address:port", with brackets around IPv6.
func (h Host) Endpoint() string { return h.Addr() }

// route identifies the machine that h leads to, whatever it is called: the
// same private address behind another jump host is another machine.
func (h Host) route() string {
	var b strings.Builder
	for _, j := range h.Jumps {
		b.WriteString(canonicalAddress(j.Address) + " " + strconv.Itoa(j.Port) + " ")
	}
	return b.String() + canonicalAddress(h.Address) + " " + strconv.Itoa(h.Port)
}

// apply fills a target from ssh_config. Fields that it has already stay. name is
// what was asked for.
func (r *Resolver) apply(t *remote.Target, name string, s settings) (err error) {
	t.IdentitiesOnly = s.identitiesOnly.value
	t.HostKeyAlias = s.hostKeyAlias.value
	e := r.expander(*t, name, s)
	fail := func(keyword string, err error) error {
		return &SSHConfigError{Host: name, Problem: fmt.Sprintf("%s %v", keyword, err), Err: err}
	}
	if t.Identities == nil && s.identities.set {
		t.SkipUnusable = true
		if t.Identities, err = r.identities(s.identities.value, e); err != nil {
			return fail("IdentityFile", err)
		}
	}
	if t.Certificates, err = r.paths(s.others["certificatefile"], e); err != nil {
		return fail("CertificateFile", err)
	}
	if t.Agent, err = r.agent(s.identityAgent.value, e); err != nil {
		return fail("IdentityAgent", err)
	}
	if t.KnownHosts, err = r.files(s.knownHosts.value, e); err != nil {
		return fail("UserKnownHostsFile", err)
	}
	if t.GlobalKnownHosts, err = r.files(s.globalKnownHosts.value, e); err != nil {
		return fail("GlobalKnownHostsFile", err)
	}
	if err := readOptions(&t.Options, name, s.others); err != nil {
		return err
	}
	if file := t.Options.RevokedHostKeys; file != "" {
		if t.Options.RevokedHostKeys, err = r.file(file, e); err != nil {
			return fail("RevokedHostKeys", err)
		}
	}
	return nil
}

// identities expands the key files of ssh_config. "none" is no file.
func (r *Resolver) identities(files []string, e expander) ([]string, error) {
	named := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return strings.EqualFold(f, remote.None) })
	if len(named) == 0 {
		return []string{remote.None}, nil
	}
	return r.paths(named, e)
}

// paths expands files, which `ssh -G` leaves as they were written.
func (r *Resolver) paths(files []string, e expander) ([]string, error) {
	var paths []string
	for _, file := range files {
		if strings.EqualFold(file, remote.None) {
			continue
		}
		path, err := e.path(file, r.Dir)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// agent finds the agent's socket.
func (r *Resolver) agent(value string, e expander) (string, error) {
	switch {
	case value == "" || value == "SSH_AUTH_SOCK":
		return "", nil
	case value == "none":
		return value, nil
	case strings.HasPrefix(value, "$") && !strings.HasPrefix(value, "${"):
		socket, ok := r.LookupEnv(value[1:])
		if !ok || socket == "" {
			return "", fmt.Errorf("%q: the environment variable is not set", value)
		}
		return socket, nil
	}
	return r.file(value, e)
}

// files expands files of host keys; none stays "none".
func (r *Resolver) files(values []string, e expander) ([]string, error) {
	if len(values) == 1 && strings.EqualFold(values[0], remote.None) {
		return []string{remote.None}, nil
	}
	paths := make([]string, 0, len(values))
	for _, value := range values {
		path, err := r.file(value, e)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// file expands a path unless the ssh program has done it: a percent sign that
// is left in an absolute path of its answer is meant.
func (r *Resolver) file(value string, e expander) (string, error) {
	if r.Program != "" && strings.HasPrefix(value, "/") {
		return value, nil
	}
	return e.path(value, r.Dir)
}

// expander replaces what ssh replaces in the paths of ssh_config: a leading ~,
// %-tokens and ${NAME}.
type expander struct {
	tokens    map[byte]string
	home      string
	homeOf    func(login string) (string, error)
	lookupEnv func(string) (string, bool)
}

// expander knows the values of the tokens for one host, which was asked for as
// original.
func (r *Resolver) expander(h remote.Target, original string, s settings) expander {
	alias := h.HostKeyAlias
	if alias == "" {
		alias = original
	}
	short, _, _ := strings.Cut(r.Hostname, ".")
	return expander{
		home:      r.Home,
		homeOf:    homeOf,
		lookupEnv: r.LookupEnv,
		tokens: map[byte]string{
			'%': "%",
			'd': r.Home,
			'h': s.hostName.value,
			'i': strconv.Itoa(r.UID),
			'j': s.proxyJump.value,
			'k': alias,
			'L': short,
			'l': r.Hostname,
			'n': original,
			'p': strconv.Itoa(h.Port),
			'r': h.User,
			'u': r.User,
		},
	}
}

func homeOf(login string) (string, error) {
	u, err := user.Lookup(login)
	if err != nil {
		return "", err
	}
	return u.HomeDir, nil
}

// path expands one path and makes it absolute; a relative one is below dir.
func (e expander) path(s, dir string) (string, error) {
	expanded, err := e.tilde(s)
	if err == nil {
		expanded, err = e.text(expanded)
	}
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	if !filepath.IsAbs(expanded) {
		expanded = filepath.Join(dir, expanded)
	}
	return filepath.Clean(expanded), nil
}

// tilde replaces ~ and ~login at the beginning.
func (e expander) tilde(s string) (string, error) {
	if !strings.HasPrefix(s, "~") {
		return s, nil
	}
	login, rest, _ := strings.Cut(s[1:], "/")
	home := e.home
	if login != "" {
		var err error
		if home, err = e.homeOf(login); err != nil {
			return "", err
		}
	}
	return filepath.Join(home, rest), nil
}

// text replaces %-tokens and ${NAME}, in one pass, so that a replaced value is
// not read again. Without lookupEnv a dollar sign is an ordinary character.
func (e expander) text(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			i++
			if i == len(s) {
				return "", fmt.Errorf("ends in %%; write %%%% for a percent sign")
			}
			value, ok := e.tokens[s[i]]
			if !ok {
				return "", fmt.Errorf("the token %%%c is not supported here", s[i])
			}
			b.WriteString(value)
		case e.lookupEnv != nil && strings.HasPrefix(s[i:], "${"):
			name, _, closed := strings.Cut(s[i+2:], "}")
			value, ok := e.lookupEnv(name)
			if !closed || !ok {
				return "", fmt.Errorf("the environment variable %q is not set", name)
			}
			b.WriteString(value)
			i += len(name) + 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// systems maps what uname says to the names that vps.yaml has for it.
var systems = map[string]string{"x86_64": "x86", "aarch64": "arm"}

// SystemOf is what vps.yaml calls an architecture, as uname names it; "" for one
// that is not supported.
func SystemOf(arch string) string { return systems[arch] }

// Output names the flake output that the host is built from when it has this
// architecture.
func (h Host) Output(arch string) string {
	if h.Flake != "" {
		return h.Flake
	}
	return "vps-" + systems[arch]
}

// KnownOutput names the flake output that the host is built from, or "" if that
// depends on the server's processor.
func (h Host) KnownOutput() string { return knownOutput(h.Flake, h.System) }

// KnownOutput is that of Host.
func (h HostEntry) KnownOutput() string { return knownOutput(h.Flake, h.System) }

func knownOutput(flake, system string) string {
	if flake == "" && system != "" {
		return "vps-" + system
	}
	return flake
}

// FileNameOf makes a host's name one path element.
func FileNameOf(name string) string {
	safe := []byte(name)
	for i, c := range safe {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.' && i > 0:
		default:
			safe[i] = '_'
		}
	}
	return string(safe)
}
