package config

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/dagadbm/vps/mage/internal/next"
)

// listed resolves a host of vps.yaml. The user and port of the argument, if it
// had them, win over the file.
func (r *Resolver) listed(ctx context.Context, e HostEntry, arg literal) (Host, error) {
	h := Host{
		Name: e.Name, Address: e.Address, HostKey: e.HostKey, System: e.System, Flake: e.Flake,
		Tags: append([]string(nil), e.Tags...), Listed: true,
		User: firstOf(arg.user, e.User), Port: firstOf(arg.port, e.Port),
		Origin: fmt.Sprintf("%s:%d", filepath.Base(firstOf(r.Config.Path, FileName)), e.Line),
	}
	s, err := r.listedSettings(ctx, e, h)
	if err != nil {
		return Host{}, err
	}
	if e.Address == "" && !s.hostName.set && !looksResolvable(e.Name) {
		return Host{}, r.problem(e, "%q has no address: here address: is missing, and ssh_config has no HostName for it", e.Name)
	}
	r.defaults(&h, s)
	if e.Identity != "" {
		path, err := r.expander(h, e.Name, s).path(e.Identity, r.projectDir())
		if err != nil {
			return Host{}, r.problem(e, "%s.identity: %v", e.Name, err)
		}
		h.Identities = []string{path}
	}
	return r.finish(ctx, h, e.Name, s)
}

// listedSettings asks ssh_config about the name, then about the address.
func (r *Resolver) listedSettings(ctx context.Context, e HostEntry, h Host) (settings, error) {
	q := query{name: e.Name, hostName: e.Address, user: h.User, port: h.Port}
	s, err := r.settings(ctx, q)
	if err != nil || e.Address == "" || canonicalAddress(e.Address) == canonicalAddress(e.Name) {
		return s, err
	}
	q.name = e.Address
	more, err := r.settings(ctx, q)
	return s.or(more), err
}

// problem is an error about an entry of vps.yaml.
func (r *Resolver) problem(e HostEntry, format string, args ...any) error {
	return &ParseError{File: firstOf(r.Config.Path, FileName), Line: e.Line, Problem: fmt.Sprintf(format, args...)}
}

// unlisted resolves an alias of ssh_config or a literal address.
func (r *Resolver) unlisted(ctx context.Context, arg literal) (Host, error) {
	s, err := r.settings(ctx, query{name: arg.host, user: arg.user, port: arg.port})
	if err != nil {
		return Host{}, err
	}
	h := Host{Name: arg.name(), User: arg.user, Port: arg.port, Origin: "argument"}
	switch repeats := canonicalAddress(s.hostName.value) == canonicalAddress(arg.host); {
	case s.hostName.set && !(repeats && looksResolvable(arg.host)):
		h.Origin = "ssh_config"
	case !looksResolvable(arg.host):
		return Host{}, r.unknown(arg.host)
	default:
		if err := checkAddress(arg.host); err != nil {
			return Host{}, &ArgumentError{Arg: arg.host, Problem: err.Error(), Next: next.Words("correct the address")}
		}
	}
	r.defaults(&h, s)
	return r.finish(ctx, h, arg.host, s)
}

// defaults fills address, user and port from ssh_config, then from ours.
func (r *Resolver) defaults(h *Host, s settings) {
	h.Address = tidyAddress(firstOf(h.Address, s.hostName.value))
	if h.User == "" && s.user.set {
		h.User = s.user.value
	}
	if h.Port == 0 && s.port.set {
		h.Port = s.port.value
	}
	h.PortDeclared = h.Port != 0
	h.User = firstOf(h.User, DefaultUser)
	h.Port = firstOf(h.Port, DefaultPort)
}

// finish fills the rest of a host whose address, user and port are known.
func (r *Resolver) finish(ctx context.Context, h Host, name string, s settings) (Host, error) {
	if err := checkTarget(h, name); err != nil {
		return Host{}, err
	}
	if err := r.apply(&h, name, s); err != nil {
		return Host{}, err
	}
	jumps, err := r.jumps(ctx, name, s.proxyJump.value, nil)
	h.Jumps = jumps
	return h, err
}

// checkTarget refuses what ssh_config may contain but no server is called.
func checkTarget(h Host, name string) error {
	err := checkAddress(h.Address)
	if err == nil {
		err = checkUser(h.User)
	}
	if err != nil {
		return &SSHConfigError{Host: name, Problem: err.Error(), Err: err}
	}
	return nil
}

// projectDir is where relative paths of vps.yaml begin.
func (r *Resolver) projectDir() string {
	dir := filepath.Dir(r.Config.Path)
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(r.Dir, dir)
}

func firstOf[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}
