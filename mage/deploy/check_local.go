package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/version"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
)

// What the code here is written for.
const (
	oldestGo   = "go1.26"
	oldestMage = 17 // 1.17: flags of targets
	oldLock    = 30 * 24 * time.Hour
)

func (c *checker) tools(context.Context) (l findings) {
	info, _ := debug.ReadBuildInfo()
	l.goVersion(runtime.Version())
	l.mageVersion(info)
	return l
}

func (l *findings) goVersion(v string) {
	if version.IsValid(v) && version.Compare(v, oldestGo) < 0 {
		l.fail("go", next.Words("install Go 1.26 or newer from https://go.dev/dl"), "%s is too old", v)
		return
	}
	l.pass("go", "%s on %s/%s", v, runtime.GOOS, runtime.GOARCH)
}

func (l *findings) mageVersion(info *debug.BuildInfo) {
	const path = "github.com/magefile/mage"
	if info != nil {
		for _, m := range info.Deps {
			var major, minor int
			if m.Path != path {
				continue
			}
			if _, err := fmt.Sscanf(m.Version, "v%d.%d", &major, &minor); err == nil && major == 1 && minor < oldestMage {
				l.fail("mage", next.Shell("go", "get", "-tool", path+"@latest"), "%s is too old: it knows no flags of targets", m.Version)
				return
			}
			l.pass("mage", "%s", m.Version)
			return
		}
	}
	l.skip("mage", "this program was not started by mage")
}

func (c *checker) config(context.Context) (l findings) {
	switch n := len(c.p.config.Hosts); {
	case c.unread != nil:
		l.err(config.FileName, c.unread, next.Words("correct vps.yaml"))
	case n == 0:
		l.pass(config.FileName, "lists no hosts; name them by alias or address")
	default:
		l.pass(config.FileName, "%d hosts: %s", n, strings.Join(c.p.config.Names(), ", "))
	}
	return l
}

// files: what would be deployed, and what nix/ says.
func (c *checker) files(context.Context) (l findings) {
	t, err := c.tree()
	if err != nil {
		l.err("tree", err, next.Target("init"))
	} else {
		l.pass("tree", "%s", strings.Join(append([]string{fmt.Sprintf("%d files, %d kB", t.Manifest().Len(), (t.Size()+1023)>>10)}, t.Warnings()...), "; "))
	}
	answer, err := c.answer()
	switch {
	case errors.As(err, new(notAsked)):
		l.skip("nix/", "%v", err)
		return l
	case err != nil:
		l.skip("nix/", "does not evaluate")
		return l
	}
	l.pass("nix/", "outputs %s", strings.Join(answer.Outputs, ", "))
	l.outputs(c.p.config.Hosts, answer.Outputs)
	return l
}

// outputs: each host of vps.yaml is built from an output that exists.
func (l *findings) outputs(hosts []config.HostEntry, outputs []string) {
	for _, h := range hosts {
		name := h.KnownOutput()
		if name != "" && !slices.Contains(outputs, name) {
			l.fail("output of "+h.Name, next.Words("add it to nixosConfigurations, or name another one as flake: in vps.yaml"),
				"%v", &facts.NoOutputError{Output: name, Has: outputs})
		}
	}
}

func (c *checker) lock(context.Context) (l findings) {
	t, err := c.tree()
	if err != nil {
		l.skip(lockName, "the tree could not be collected")
		return l
	}
	data, there := t.File(lockName)
	if !there {
		l.fail(lockName, next.Target("lock"), "there is none: nothing says which revisions are deployed")
		return l
	}
	lock, err := facts.ReadLock(data)
	if err != nil {
		l.err(lockName, c.p.checkOld(data), next.Target("lock"))
		return l
	}
	text := fmt.Sprintf("pins %d inputs", len(lock.Pins()))
	if pin, ok := lock.Nixpkgs(); ok {
		text += ", nixpkgs of " + pin.LastModified.Format("2006-01-02")
		if time.Since(pin.LastModified) > oldLock {
			text += "; that is over 30 days ago: " + next.Target("lock").String()
		}
	}
	l.pass(lockName, "%s", text)
	return l
}

// secrets are the findings of secrets:check, and the sops files that the tree lacks.
func (c *checker) secrets(ctx context.Context) (l findings) {
	o := secrets.CheckOptions{AllowSample: true, Getenv: c.p.Getenv, Ask: func(ctx context.Context, file string) (string, error) {
		secret, err := c.p.log.Password(ctx, fmt.Sprintf("Passphrase of %s: ", file))
		return string(secret), err
	}}
	o.Declared, o.DeclaredErr = c.declared(ctx)
	for _, f := range secrets.Check(ctx, c.p.Dir, o) {
		f.Name = "secrets: " + f.Name
		l = append(l, f)
	}
	l.undeployed(ctx, c)
	return l
}

// undeployed are the sops files that nix/ names, that are there, and that the server
// would not get. One that is not there at all has a finding already.
func (l *findings) undeployed(ctx context.Context, c *checker) {
	t, err := c.tree()
	answer, answerErr := c.answer()
	layout, layoutErr := c.p.source(ctx)
	if errors.Join(err, answerErr, layoutErr) != nil {
		return // told by their own findings
	}
	var all facts.Host
	for _, h := range answer.Hosts {
		all.Secrets = append(all.Secrets, h.Secrets...)
	}
	for _, file := range all.Files() {
		source := sourceOf(layout, file)
		_, deployed := t.File(file)
		if deployed || !exists(filepath.Join(c.p.Dir, filepath.FromSlash(source))) {
			continue
		}
		l.err("sops file "+source, lacksFile(layout, source, all.SecretsIn(file)), next.Step{})
	}
}

// declared are the secrets that the outputs declare, each once. An error beside them
// says why others may be missing.
func (c *checker) declared(ctx context.Context) ([]secrets.Declared, error) {
	answer, err := c.answer()
	if errors.As(err, new(notAsked)) {
		if list, asOf, known := c.p.DeclaredSecrets(ctx); known == nil && asOf.IsZero() {
			return list, nil
		}
	}
	if err != nil {
		return nil, err
	}
	layout, err := c.p.source(ctx)
	if err != nil {
		return nil, err
	}
	var all []secrets.Declared
	var unknown error
	for _, name := range answer.Outputs {
		host, err := answer.Host(name)
		switch {
		case unknown != nil:
		case answer.Failed[name] != nil:
			unknown = notAsked{fmt.Sprintf("output %q does not evaluate", name)}
		case err != nil:
			unknown = err
		case host.Secrets == nil:
			unknown = notAsked{fmt.Sprintf("Nix does not say which secrets output %q declares", name)}
		}
		all = append(all, host.Secrets...)
	}
	return declared(layout, all), unknown
}

// git: what is deployed should be what others can get.
func (c *checker) git(ctx context.Context) (l findings) {
	s, err := c.p.gitState(ctx)
	switch {
	case err != nil:
		l.err("git", err, next.Words("correct the repository"))
	case !s.InRepo:
		l.skip("git", "not a git repository, or git is not installed")
	case s.Commit == "":
		l.fail("git", next.Say("%s && %s", next.Shell("git", "add", "-A"), next.Shell("git", "commit")), "nothing is committed yet")
	case s.Dirty:
		l.fail("git", next.Say("%s && %s", next.Shell("git", "add", "-A"), next.Shell("git", "commit")), "what would be deployed is not what commit %s has", short(s.Commit))
	default:
		l.pass("git", "%s, commit %s", cmp.Or(s.Branch, "no branch"), short(s.Commit))
	}
	if err == nil && s.InRepo && s.Behind > 0 {
		l.fail("git upstream", next.Shell("git", "pull"), "%d commits of the upstream branch are missing here", s.Behind)
	}
	return l
}

// logins: every host of vps.yaml can be offered a key.
func (c *checker) logins(ctx context.Context) (l findings) {
	targets := []remote.Target{{Name: "any host", Address: "localhost", Port: 22, User: config.DefaultUser}}
	if c.unread == nil && len(c.p.config.Hosts) > 0 {
		hosts, err := c.p.resolver.Resolve(ctx, "all")
		if err != nil {
			l.err("SSH keys", err, next.Words("correct vps.yaml or ~/.ssh/config"))
			return l
		}
		targets = nil
		for _, h := range hosts {
			targets = append(targets, h.Target)
		}
	}
	var usable []string
	for _, t := range targets {
		keys, sealed, err := c.p.Dialer.PublicKeys(ctx, t)
		switch {
		case err != nil:
			l.err("SSH keys of "+t.Name, err, next.Words("name a key that exists as identity: in vps.yaml"))
		case len(keys) == 0 && !sealed:
			l.fail("SSH keys of "+t.Name, next.Shell("ssh-keygen", "-t", "ed25519"), "there is none, neither in a file nor in an agent")
		case sealed:
			usable = append(usable, fmt.Sprintf("%s: %d, and one with a passphrase", t.Name, len(keys)))
		default:
			usable = append(usable, fmt.Sprintf("%s: %d", t.Name, len(keys)))
		}
	}
	if len(usable) > 0 {
		l.pass("SSH keys", "%s", strings.Join(usable, "; "))
	}
	return l
}
