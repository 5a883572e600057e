package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Host is one server with everything that connecting to it needs.
type Host struct {
	// Name is the name in vps.yaml, the alias of ssh_config, or the literal
	// address with the port if one was given.
	Name string
	// Address is a host name, an IPv4 or an IPv6 address without brackets.
	Address string
	Port    int // 1 to 65535
	// PortDeclared: vps.yaml, the argument or ssh_config names the port;
	// otherwise it is the default.
	PortDeclared bool
	User         string
	// Identities are absolute paths of private keys, in order of trying. Nil
	// means that none is configured: the usual default keys are tried. Empty
	// and not nil means that no key file may be tried (IdentityFile none).
	Identities     []string
	IdentitiesOnly bool   // the agent offers only keys named by Identities
	IdentityAgent  string // socket path; "" for SSH_AUTH_SOCK, "none" for no agent
	HostKeyAlias   string // looked up in known_hosts in place of the address; or ""
	// KnownHosts and GlobalKnownHosts are absolute paths; files may be missing.
	KnownHosts       []string
	GlobalKnownHosts []string
	// Jumps are the hosts in between, in order of connection. They have no
	// Jumps of their own.
	Jumps   []Host
	HostKey string   // pinned "type base64", or ""
	System  string   // "x86", "arm", or "" to ask the server
	Flake   string   // flake output, or "" to derive it from the system
	Tags    []string // in the order of vps.yaml
	Listed  bool     // declared in vps.yaml
	Origin  string   // for messages: "vps.yaml:3", "ssh_config" or "argument"
}

// Endpoint is "address:port", with brackets around IPv6.
func (h Host) Endpoint() string {
	return net.JoinHostPort(h.Address, strconv.Itoa(h.Port))
}

// route identifies the machine that h leads to, whatever it is called: the
// same private address behind another jump host is another machine.
func (h Host) route() string {
	var b strings.Builder
	for _, j := range h.Jumps {
		b.WriteString(canonicalAddress(j.Address) + " " + strconv.Itoa(j.Port) + " ")
	}
	return b.String() + canonicalAddress(h.Address) + " " + strconv.Itoa(h.Port)
}

// apply fills a host from ssh_config. Fields that h has already stay.
func (r *Resolver) apply(h *Host, name string, s settings) error {
	h.IdentitiesOnly = s.identitiesOnly.value
	h.HostKeyAlias = s.hostKeyAlias.value
	e := r.expander(*h, name, s)
	if err := r.identities(h, s, e); err != nil {
		return &SSHConfigError{Host: name, Problem: fmt.Sprintf("IdentityFile %v", err), Err: err}
	}
	agent, err := r.agent(s.identityAgent.value, e)
	if err != nil {
		return &SSHConfigError{Host: name, Problem: fmt.Sprintf("IdentityAgent %v", err), Err: err}
	}
	h.IdentityAgent = agent
	if h.KnownHosts, err = r.files(s.knownHosts.value, e); err != nil {
		return &SSHConfigError{Host: name, Problem: fmt.Sprintf("UserKnownHostsFile %v", err), Err: err}
	}
	if h.GlobalKnownHosts, err = r.files(s.globalKnownHosts.value, e); err != nil {
		return &SSHConfigError{Host: name, Problem: fmt.Sprintf("GlobalKnownHostsFile %v", err), Err: err}
	}
	return nil
}

// identities expands the key files of ssh_config, which `ssh -G` leaves as
// they were written. "none" is no file.
func (r *Resolver) identities(h *Host, s settings, e expander) error {
	if h.Identities != nil || !s.identities.set {
		return nil
	}
	h.Identities = []string{}
	for _, file := range s.identities.value {
		if strings.EqualFold(file, "none") {
			continue
		}
		path, err := e.path(file, r.Dir)
		if err != nil {
			return err
		}
		h.Identities = append(h.Identities, path)
	}
	return nil
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

func (r *Resolver) files(values []string, e expander) ([]string, error) {
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
