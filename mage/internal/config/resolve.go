package config

import (
	"context"
	"errors"
	"fmt"
	"github.com/dagadbm/vps/mage/remote"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"

	"github.com/dagadbm/vps/mage/internal/next"
	"strconv"
	"strings"
	"sync"
)

// Resolver turns arguments into hosts. [NewResolver] fills every field from the
// surroundings; a test changes what it wants to.
type Resolver struct {
	Config *Config
	// Program is the ssh program; "" where there is none.
	Program string
	// Run runs Program and returns its standard output. Its error is shown.
	Run func(ctx context.Context, program string, args ...string) ([]byte, error)
	// SSHConfig replaces the user's and the system's ssh_config, as ssh -F
	// does; "" for the usual files, "none" for no file.
	SSHConfig       string
	SystemSSHConfig string // the system's file, read after Home/.ssh/config
	Home            string // replaces ~; by the password file, as ssh has it
	Dir             string // where relative paths of ssh_config begin
	User            string // local login name
	UID             int
	Hostname        string // of this machine
	LookupEnv       func(name string) (string, bool)

	mu  sync.Mutex
	own *answer // ssh's without any file, once it was asked
}

// NewResolver makes a resolver for cfg, the current user and this machine.
func NewResolver(cfg *Config) (*Resolver, error) {
	if cfg == nil {
		cfg = Default()
	}
	home, err := remote.HomeDir() // as ssh has it
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the current folder: %w", err)
	}
	hostname, _ := os.Hostname() // only for %l and %L
	r := &Resolver{
		Config:    cfg,
		Run:       runSSH,
		SSHConfig: os.Getenv("VPS_SSH_CONFIG"),
		Home:      home,
		Dir:       dir,
		User:      loginName(),
		UID:       os.Getuid(),
		Hostname:  hostname,
		LookupEnv: os.LookupEnv,
	}
	switch r.SSHConfig {
	case "", "none":
	case os.DevNull:
		r.SSHConfig = "none"
	default:
		if !filepath.IsAbs(r.SSHConfig) {
			r.SSHConfig = filepath.Join(dir, r.SSHConfig)
		}
	}
	if r.Program, err = exec.LookPath("ssh"); err != nil {
		r.Program = ""
	}
	r.SystemSSHConfig = systemSSHConfig(r.Program)
	return r, nil
}

// loginName is the local login name, which ssh uses for jump hosts.
func loginName() string {
	if me, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return me.Username
	}
	return firstOf(os.Getenv("USER"), strconv.Itoa(os.Getuid()))
}

// settings asks ssh_config about q.
func (r *Resolver) settings(ctx context.Context, q query) (settings, error) {
	file := r.configFile()
	switch {
	case file == "":
		return r.unconfigured(q), nil
	case r.Program == "":
		return settings{}, &SSHConfigError{
			Host:    q.name,
			Problem: fmt.Sprintf("%s says how hosts are reached, and only OpenSSH's ssh program can tell what it says, which is not installed", file),
			Next:    next.Words("install OpenSSH's client, or go without ssh_config: set VPS_SSH_CONFIG=none"),
		}
	}
	s, err := r.askSSH(ctx, q)
	if err != nil {
		return settings{}, err
	}
	if err := refuseKeywords(q.name, s.others); err != nil {
		return settings{}, err
	}
	return s, nil
}

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

// Known are the names of vps.yaml and the aliases of ssh_config.
func (r *Resolver) Known() []string {
	known := r.Config.Names()
	for _, alias := range r.aliases() {
		known = appendNew(known, alias)
	}
	return known
}

// unknown lists what a mistyped name could have meant.
func (r *Resolver) unknown(name string) error {
	known := r.Known()
	return &UnknownHostError{Name: name, Known: known, Closest: closest(name, known)}
}

// listed resolves a host of vps.yaml. The user and port of the argument, if it
// had them, win over the file.
func (r *Resolver) listed(ctx context.Context, e HostEntry, arg literal) (Host, error) {
	h := Host{
		Target: remote.Target{Name: e.Name, Address: e.Address, HostKey: e.HostKey,
			User: firstOf(arg.user, e.User), Port: firstOf(arg.port, e.Port)},
		System: e.System, Flake: e.Flake, Tags: append([]string(nil), e.Tags...), Listed: true, OwnAgeKey: e.AgeKey == "own",
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
		path, err := r.expander(h.Target, e.Name, s).path(e.Identity, r.projectDir())
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
	h := Host{Target: remote.Target{Name: arg.name(), User: arg.user, Port: arg.port}, Origin: "argument"}
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
	if err := checkTarget(h.Target, name); err != nil {
		return Host{}, err
	}
	if err := r.apply(&h.Target, name, s); err != nil {
		return Host{}, err
	}
	jumps, err := r.jumps(ctx, name, s.proxyJump.value, nil)
	h.Jumps = jumps
	return h, err
}

// checkTarget refuses what ssh_config may contain but no server is called.
func checkTarget(h remote.Target, name string) error {
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
