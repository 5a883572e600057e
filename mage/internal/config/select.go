package config

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/dagadbm/vps/mage/internal/next"
)

// parallel is how many hosts are looked up in ssh_config at a time.
const parallel = 8

// target is one host to resolve: an entry of vps.yaml, or a literal alone.
type target struct {
	entry *HostEntry
	arg   literal
}

// Resolve turns an argument into hosts: a name of vps.yaml, an alias of
// ssh_config, [user@]address[:port], @tag, all, or several of these joined by
// commas. Hosts come in the order of the argument, those of a group in the
// order of vps.yaml; a machine that is named twice comes once. Every item that
// fails is reported, joined.
func (r *Resolver) Resolve(ctx context.Context, arg string) ([]Host, error) {
	items, err := splitItems(arg)
	if err != nil {
		return nil, err
	}
	var targets []target
	var errs []error
	for _, item := range items {
		more, err := r.expand(item)
		targets = addTargets(targets, more)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	hosts, err := r.resolveAll(ctx, targets)
	if err != nil {
		return nil, err
	}
	return dedupe(arg, hosts)
}

// ResolveOne resolves an argument that must name a single host; groups and
// lists are refused even if they hold only one.
func (r *Resolver) ResolveOne(ctx context.Context, arg string) (Host, error) {
	if arg == "all" || strings.HasPrefix(arg, "@") || strings.Contains(arg, ",") {
		return Host{}, &ArgumentError{Arg: arg, Problem: "names a group, but this needs one host", Next: next.Words("name one host")}
	}
	hosts, err := r.Resolve(ctx, arg)
	if err != nil {
		return Host{}, err
	}
	return hosts[0], nil
}

// expand finds what one item of an argument selects.
func (r *Resolver) expand(item string) ([]target, error) {
	if item == "all" {
		return r.group(item, func(HostEntry) bool { return true })
	}
	if tag, ok := strings.CutPrefix(item, "@"); ok {
		return r.group(item, func(e HostEntry) bool { return hasTag(e, tag) })
	}
	if e := r.Config.Lookup(item); e != nil {
		return []target{{entry: e}}, nil
	}
	arg, err := parseLiteral(item)
	if err != nil {
		return nil, err
	}
	return []target{{entry: r.Config.Lookup(arg.host), arg: arg}}, nil
}

func hasTag(e HostEntry, tag string) bool {
	for _, t := range e.Tags {
		if t == tag {
			return true
		}
	}
	return false
}

func (r *Resolver) group(item string, in func(HostEntry) bool) ([]target, error) {
	var targets []target
	for i := range r.Config.Hosts {
		if in(r.Config.Hosts[i]) {
			targets = append(targets, target{entry: &r.Config.Hosts[i]})
		}
	}
	if len(targets) > 0 {
		return targets, nil
	}
	if len(r.Config.Hosts) == 0 {
		return nil, &ArgumentError{Arg: item, Problem: "selects nothing: " + FileName + " lists no hosts",
			Next: next.Words("list the hosts in " + FileName + ", or name an address")}
	}
	return nil, r.unknownTag(item)
}

func (r *Resolver) unknownTag(item string) error {
	tags := r.Config.Tags()
	e := &ArgumentError{Arg: item, Problem: "no host has this tag", Next: next.Words("give a host in " + FileName + " this tag")}
	if len(tags) > 0 {
		e.Problem += " (tags: " + shorten(tags, 12) + ")"
	}
	if near := closest(item[1:], tags); near != "" {
		e.Next = next.Say("did you mean %q?", "@"+near)
	}
	return e
}

// addTargets appends what is not selected yet.
func addTargets(targets, more []target) []target {
	for _, t := range more {
		known := false
		for _, have := range targets {
			known = known || have == t
		}
		if !known {
			targets = append(targets, t)
		}
	}
	return targets
}

// resolveAll resolves targets side by side and keeps their order.
func (r *Resolver) resolveAll(ctx context.Context, targets []target) ([]Host, error) {
	hosts := make([]Host, len(targets))
	errs := make([]error, len(targets))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			hosts[i], errs[i] = r.resolve(ctx, t)
		})
	}
	wg.Wait()
	return hosts, errors.Join(errs...)
}

func (r *Resolver) resolve(ctx context.Context, t target) (Host, error) {
	if err := ctx.Err(); err != nil {
		return Host{}, err
	}
	if t.entry != nil {
		return r.listed(ctx, *t.entry, t.arg)
	}
	return r.unlisted(ctx, t.arg)
}

// dedupe keeps one host for each machine, at the place of the first, and
// prefers the one that vps.yaml lists: it has the pinned key. Two names of
// vps.yaml for one machine are an error, since each may declare another system.
func dedupe(arg string, hosts []Host) ([]Host, error) {
	at := map[string]int{}
	kept := hosts[:0]
	for _, h := range hosts {
		i, seen := at[h.route()]
		switch {
		case !seen:
			at[h.route()] = len(kept)
			kept = append(kept, h)
		case !h.Listed:
		case !kept[i].Listed:
			kept[i] = h
		case kept[i].Name != h.Name:
			return nil, &ArgumentError{
				Arg:     arg,
				Problem: fmt.Sprintf("%q and %q in %s are the same machine, %s", kept[i].Name, h.Name, FileName, h.Endpoint()),
				Next:    next.Words("give them different addresses or ports, or remove one of them"),
			}
		}
	}
	return kept, nil
}

// looksResolvable reports a name that DNS may know: an address, a name with a
// dot, this machine. A bare word is more likely a typing error.
func looksResolvable(host string) bool {
	return isAddress(host) || strings.Contains(host, ".") || host == "localhost"
}

// unknown lists what a mistyped name could have meant.
func (r *Resolver) unknown(name string) error {
	known := r.Config.Names()
	for _, alias := range r.aliases() {
		known = appendNew(known, alias)
	}
	return &UnknownHostError{Name: name, Known: known, Closest: closest(name, known)}
}
