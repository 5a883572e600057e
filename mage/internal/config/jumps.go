package config

import (
	"context"
	"fmt"
	"github.com/dagadbm/vps/mage/remote"
	"regexp"
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
func (r *Resolver) jumps(ctx context.Context, name, list string, chain []string) ([]remote.Target, error) {
	if list == "" || strings.EqualFold(list, "none") {
		return nil, nil
	}
	chain = append(chain, name)
	hops, err := parseHops(list)
	if err != nil {
		return nil, &SSHConfigError{Host: name, Problem: fmt.Sprintf("ProxyJump %q: %v", list, err), Err: err}
	}
	var hosts []remote.Target
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
		item = strings.TrimPrefix(strings.TrimSpace(item), "ssh://")
		hop, err := parseLiteral(bracketedIPv4.ReplaceAllString(item, "$1"))
		if err != nil {
			return nil, err
		}
		hops = append(hops, hop)
	}
	return hops, nil
}

// bracketedIPv4 is an address as `ssh -G` prints it.
var bracketedIPv4 = regexp.MustCompile(`\[([0-9.]+)\]`)

// jump resolves one host on the way. It is not ours, so ssh's defaults hold:
// port 22 and the local login name.
func (r *Resolver) jump(ctx context.Context, hop literal) (remote.Target, settings, error) {
	s, err := r.settings(ctx, query{name: hop.host, user: hop.user, port: hop.port})
	if err != nil {
		return remote.Target{}, settings{}, err
	}
	h := remote.Target{
		Name:    hop.name(),
		Address: tidyAddress(s.hostName.value),
		User:    firstOf(hop.user, s.user.value),
		Port:    firstOf(hop.port, s.port.value),
	}
	if err := checkTarget(h, hop.host); err != nil {
		return remote.Target{}, settings{}, err
	}
	if err := r.apply(&h, hop.host, s); err != nil {
		return remote.Target{}, settings{}, err
	}
	return h, s, nil
}
