package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
)

// Options are the flags of bootstrap. The zero value of each but Yes
// leaves the choice to vps.yaml, to the server, or to what is usual.
type Options struct {
	Address string // where the server is, in place of what HOST says
	System  string // x86 or arm
	Port    int    // SSH port of the system that is there now; 0 is 22
	BuildOn string // where the system is built: auto, local or remote
	HostKey string // fingerprint ("SHA256:…") of the system that is there now
	Yes     bool   // wipe without asking
}

var fingerprintForm = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)

func (o Options) check() error {
	switch {
	case o.System != "" && o.System != "x86" && o.System != "arm":
		return fmt.Errorf("-system=%s: want x86 or arm", o.System)
	case !slices.Contains([]string{"", "auto", "local", "remote"}, o.BuildOn):
		return fmt.Errorf("-buildon=%s: want auto, local or remote", o.BuildOn)
	case o.Port < 0 || o.Port > 65535:
		return fmt.Errorf("-port=%d: want 1 to 65535", o.Port)
	case o.HostKey != "" && !fingerprintForm.MatchString(o.HostKey):
		return fmt.Errorf("-hostkey=%q: want a fingerprint as ssh-keygen -l shows it, SHA256:…", o.HostKey)
	}
	return nil
}

// Installed is a server that bootstrap made ours.
type Installed struct {
	Host       string
	Login      string // the ssh command that logs in
	Output     string // flake output that was installed
	Generation int
	HostKey    string // fingerprint
	Pinned     string // where the host key is written down
	Log        string // of the installer; "" if an earlier run installed
}

// Run makes a NixOS of ours out of any Linux server, and wipes its disk on
// the way. It can be called again wherever it ended.
func (p *Project) Run(ctx context.Context, host string, o Options) (*Installed, error) {
	b, err := p.newBootstrap(ctx, host, o)
	if err != nil {
		return nil, err
	}
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	b.recall(ctx)
	b.connectOnTrial()
	defer func() { b.link.close() }()
	if err := b.preflight(ctx); err != nil {
		return nil, err
	}
	if err := b.resume(ctx); err != nil {
		return nil, err
	}
	if b.installed == nil {
		if err := b.replace(ctx); err != nil {
			return nil, err
		}
	}
	return b.finish(ctx)
}

// installation is the bootstrap of one host.
type installation struct {
	p      *Project
	dialer *remote.Dialer // keeps nothing of a server that is about to go
	o      Options
	host   config.Host
	limits limits
	engine container.Engine
	pre    *Prepared
	trial  *trial

	project string // its id
	run     string // id of this call

	record          *installRecord     // of an earlier run, then of this one; nil if there is none
	link            *login             // to the system that is there now
	facts           run.FreshFacts     // of it
	before          run.FreshFacts     // of the system that the installer replaced; zero if that ran already
	key             keyPair            // the installer logs in with it
	hostKey         keyPair            // of the new system
	ageKey          *secrets.ServerKey // of the new system alone; nil: it gets that of this machine
	built           container.Built
	diskKeys        [][]byte      // of encrypted disks, in the order of config.DiskKeys
	flake           *facts.Answer // what Nix says
	output          string
	config          facts.Host // of output
	loginChecked    string     // output whose login keys were looked at
	local           bool       // the system is built here
	erasesInstalled bool       // what an earlier run installed is on the disk
	installed       *login
	log             string
}

func (p *Project) newBootstrap(ctx context.Context, arg string, o Options) (*installation, error) {
	if err := o.check(); err != nil {
		return nil, usage(err)
	}
	if !o.Yes && !p.Log.Interactive() {
		return nil, &Failure{Kind: Usage, Now: "nothing was changed", Next: next.Words("give -yes if the server's disk may be erased"),
			Err: fmt.Errorf("bootstrap of %q wipes a disk, and there is no terminal to ask on", arg)}
	}
	limits, err := newLimits(p.Config.Install.Deadlines)
	if err != nil {
		return nil, usage(err)
	}
	h, err := p.bootstrapHost(ctx, arg, o)
	if err != nil {
		return nil, err
	}
	b := &installation{p: p, o: o, host: h, limits: limits, run: strings.ToLower(newRun(time.Now())),
		engine: container.Engine{Program: p.Config.Install.Engine}}
	if b.project, err = b.projectID(); err != nil {
		return nil, usage(fmt.Errorf("give the project an id: %w", err))
	}
	return b, nil
}

// recall reads how far an earlier run came.
func (b *installation) recall(ctx context.Context) {
	var err error
	if b.record, err = readInstall(b.recordPath()); err != nil {
		b.p.Log.Warn("%v; it is ignored", err)
	}
	if tracked, err := git.In(b.p.Dir).Tracks(ctx, ".vps/installs"); tracked || err != nil && !git.Absent(err) {
		b.p.Log.Warn("records of installs are ignored: they came with the repository (git tracks .vps/installs)")
		b.record = nil
	}
	if r := b.record; r != nil && r.Address != "" && r.Address != b.host.Address {
		b.p.Log.Warn("an install of %s at %s did not come to its end; this is about another server, at %s", b.host.Name, r.Address, b.host.Address)
		b.record = nil
	}
}

// bootstrapHost resolves HOST. With an address given, a name that is known
// nowhere stands for it.
func (p *Project) bootstrapHost(ctx context.Context, arg string, o Options) (config.Host, error) {
	h, err := p.Host(ctx, arg)
	var unknown *config.UnknownHostError
	if errors.As(err, &unknown) && o.Address != "" {
		p.Log.Info("%s is known nowhere; it is called %s from here on, until it has a name in vps.yaml", arg, o.Address)
		h, err = p.Host(ctx, o.Address)
	}
	if err != nil {
		return h, err
	}
	h.Address = cmp.Or(o.Address, h.Address)
	h.User = cmp.Or(h.User, "root")
	switch {
	case o.System != "" && h.System != "" && o.System != h.System:
		return h, usage(fmt.Errorf("-system=%s, but vps.yaml says system %q for %s", o.System, h.System, h.Name))
	case o.System != "":
		h.System = o.System
	}
	return h, nil
}

// connectOnTrial makes a dialer that remembers host keys for this run only: the
// system that shows them is about to be replaced.
func (b *installation) connectOnTrial() {
	d := b.p.Dialer
	b.trial = &trial{Prompter: b.p.Prompter, host: b.host.Name, given: b.o.HostKey, later: !b.o.Yes && b.p.Log.Interactive()}
	b.dialer = &remote.Dialer{
		Prompter: b.trial, ForgetHostKeys: true, AcceptHostKeys: b.acceptable(),
		ConnectTimeout: d.ConnectTimeout, HandshakeTimeout: d.HandshakeTimeout, KeepAlive: d.KeepAlive,
		NetDial: d.NetDial, Home: d.Home, Notice: d.Notice,
	}
}

// acceptable are the fingerprints that need no question.
func (b *installation) acceptable() []string {
	if b.o.HostKey == "" {
		return nil
	}
	return []string{b.o.HostKey}
}

func (b *installation) command() next.Step { return next.Target("bootstrap", b.host.Name) }

// preflight checks all that this laptop must have, the cheap first, and ends
// what an earlier run left going.
func (b *installation) preflight(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.checkProject, b.checkEngine, b.stopLeftovers, b.getImage, b.evaluate} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// replace installs NixOS in place of the system that is there.
func (b *installation) replace(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.look, b.refuseOther, b.choose, b.consent, b.install, b.awaitInstalled} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
