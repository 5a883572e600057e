package config

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
)

// maxJumps bounds a chain, in hosts.
const maxJumps = 16

// jumps resolves ProxyJump as ssh walks it: the hosts in order of connection,
// each looked up in ssh_config. Only the first of a list follows a ProxyJump of
// its own; for the others the list itself says how they are reached. chain
// holds the names that lead here.
func (r *Resolver) jumps(ctx context.Context, name, list string, chain []string) ([]Host, error) {
	if list == "" || strings.EqualFold(list, "none") {
		return nil, nil
	}
	chain = append(chain, name)
	hops, err := parseHops(list)
	if err != nil {
		return nil, &SSHConfigError{Host: name, Problem: fmt.Sprintf("ProxyJump %q: %v", list, err), Err: err}
	}
	var hosts []Host
	for i, hop := range hops {
		if len(chain) > maxJumps || slices.Contains(chain, hop.host) {
			return nil, &SSHConfigError{
				Host:    name,
				Problem: fmt.Sprintf("ProxyJump %q leads back to %q", list, hop.host),
				Next:    next.Say("exclude the jump host: put \"Host %s\" with \"ProxyJump none\" first in ssh_config", hop.host),
			}
		}
		h, s, err := r.jump(ctx, hop)
		if err != nil {
			return nil, fmt.Errorf("jump host %q of host %q: %w", hop.name(), name, err)
		}
		if i == 0 {
			before, err := r.jumps(ctx, hop.host, s.proxyJump.value, chain)
			if err != nil {
				return nil, err
			}
			hosts = before
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// parseHops reads the value of a ProxyJump: [user@]host[:port], comma-separated.
func parseHops(list string) ([]literal, error) {
	var hops []literal
	for item := range strings.SplitSeq(list, ",") {
		hop, err := parseLiteral(strings.TrimPrefix(strings.TrimSpace(item), "ssh://"))
		if err != nil {
			return nil, err
		}
		hops = append(hops, hop)
	}
	return hops, nil
}

// jump resolves one host on the way. It is not ours, so ssh's defaults hold:
// port 22 and the local login name.
func (r *Resolver) jump(ctx context.Context, hop literal) (Host, settings, error) {
	s, err := r.settings(ctx, query{name: hop.host, user: hop.user, port: hop.port})
	if err != nil {
		return Host{}, settings{}, err
	}
	h := Host{
		Name:         hop.name(),
		Address:      tidyAddress(s.hostName.value),
		User:         firstOf(hop.user, s.user.value),
		Port:         firstOf(hop.port, s.port.value),
		PortDeclared: hop.port != 0 || s.port.set,
		Origin:       "ssh_config",
	}
	if err := checkTarget(h, hop.host); err != nil {
		return Host{}, settings{}, err
	}
	if err := r.apply(&h, hop.host, s); err != nil {
		return Host{}, settings{}, err
	}
	return h, s, nil
}
