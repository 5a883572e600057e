package mage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/demo"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/secrets"
)

// demoPace is how long the demo waits where a real update waits longer: for the
// units to settle, and for a confirmation that cannot come.
type demoPace struct{ settle, lockedOut time.Duration }

// player plays the steps of the demo.
type player struct {
	*session
	lab  *demo.Lab
	pace demoPace
	step int
}

const demoIntroduction = `The whole life of a server, on this machine.

Simulated: the operating system of the server, that is systemd, the building and
activating of NixOS. It all happens in a folder, so a "build" takes no time.
Real: the targets, SSH and SFTP over 127.0.0.1, the host key, age and sops, the
supervisor script, its lock, its watchdog, its rollback.`

func runDemo(ctx context.Context, ui *term.UI, pace demoPace) (err error) {
	began := time.Now()
	lab, err := demo.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	ui.Info("%s", demoIntroduction)
	p := &player{session: &session{&deploy.Project{UI: ui}}, lab: lab, pace: pace}
	for _, play := range []func(context.Context) error{
		p.begin, p.secret, p.server, p.firstUpdate, p.goodChange, p.badChange, p.look, p.goBack,
	} {
		if err := play(ctx); err != nil {
			return err
		}
	}
	ui.Info("")
	ui.Success("that was a server's life, in %s; the folder it happened in is gone again", time.Since(began).Round(time.Second))
	ui.Hint("in an empty repository: go run github.com/dagadbm/vps/mage/cmd/vps-init@latest")
	return nil
}

// say begins a step.
func (p *player) say(title, text string) {
	p.step++
	p.UI.Info("\n== %d. %s\n%s", p.step, title, text)
}

// typed shows what a person would type.
func (p *player) typed(format string, args ...any) { p.UI.Info("\n$ "+format, args...) }

func (p *player) begin(ctx context.Context) error {
	p.say("A project", "An empty folder becomes a project: a magefile, the NixOS configuration, and\nsecrets that are encrypted to a key made for it.")
	p.typed("mage init")
	return p.lab.Init(ctx, p.UI)
}

func (p *player) secret(ctx context.Context) error {
	p.say("Secrets", "A value comes from stdin, never from an argument. Only the project's age key\nand the servers that have it can read secrets/secrets.yaml.")
	p.typed("echo correct-horse | mage secrets:set gateway-token")
	ids, err := secrets.LoadIdentities(ctx, p.lab.Dir, nil)
	if err != nil {
		return err
	}
	if _, err := secrets.Set(ctx, p.lab.Dir, ids, "gateway-token", "correct-horse"); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	p.typed("mage secrets:list")
	return p.listSecrets(ctx, "", false)
}

// open opens the project as every target does, but without the person's own
// ssh_config and keys.
func (p *player) open() error {
	project, err := deploy.Open(p.lab.Dir, p.UI)
	if err != nil {
		return err
	}
	resolver, err := config.NewResolver(project.Config)
	if err != nil {
		return err
	}
	resolver.Program, resolver.SSHConfig, resolver.SystemSSHConfig = "", "none", ""
	project.Resolver = resolver
	project.Dialer = &remote.Dialer{Home: p.lab.Dir}
	p.Project = project
	return nil
}

func (p *player) server(ctx context.Context) error {
	p.say("A server", "bootstrap makes a NixOS server of any Linux. That takes a machine and minutes, so\nhere the server is there already, and in vps.yaml with its host key. check looks at\nall that can be known before anything is changed, at this machine too. (Docker, if\nit misses that, is needed by bootstrap and lock only.)")
	if err := p.lab.StartServer(); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	if err := p.commit(ctx, "A server"); err != nil {
		return err
	}
	p.typed("mage check -offline -host=%s", demo.HostName)
	found := p.Check(ctx, deploy.CheckOptions{Host: demo.HostName, Offline: true})
	p.UI.Error(secrets.Problems(found))
	return p.showFindings(found, false)
}

func (p *player) firstUpdate(ctx context.Context) error {
	p.say("The first update", "It brings our configuration and secrets to the server.")
	return p.update(ctx)
}

func (p *player) commit(ctx context.Context, message string) error {
	p.typed("git add -A && git commit -m %q", message)
	return p.lab.Commit(ctx, message)
}

func (p *player) goodChange(ctx context.Context) error {
	p.say("A change", "The time zone becomes Lisbon's, in nix/modules/system.nix.")
	if err := p.lab.Change("nix/modules/system.nix", `"UTC"`, `"Europe/Lisbon"`); err != nil {
		return err
	}
	if err := p.commit(ctx, "Lisbon's time"); err != nil {
		return err
	}
	p.typed("mage diff %s", demo.HostName)
	d, err := p.Diff(ctx, demo.HostName)
	if err != nil {
		return err
	}
	p.showDiff(d)
	return p.update(ctx)
}

func (p *player) badChange(ctx context.Context) error {
	p.say("A change that locks everybody out", "enable = false for SSH, in nix/modules/security.nix. The server builds it and\nswitches to it; SSH is gone. Nobody can confirm, so the watchdog takes it back.")
	if err := p.lab.LockOut(); err != nil {
		return err
	}
	err := p.lockOut(ctx)
	if deploy.ExitStatus(err) != int(deploy.CodeRolledBack) {
		return fmt.Errorf("the demo's bad update was to be rolled back, but ended so: %w", err)
	}
	p.UI.Error(err)
	p.UI.Info("exit status %d", deploy.ExitStatus(err))
	return p.lab.LetIn()
}

func (p *player) look(ctx context.Context) error {
	p.say("Is it well?", "SSH is back, with the system and the /etc/nixos of the update before.")
	p.typed("mage status %s", demo.HostName)
	list, err := p.Status(ctx, demo.HostName, 1)
	if err != nil {
		return err
	}
	return p.showStatus(list, false)
}

func (p *player) goBack(ctx context.Context) error {
	p.say("Undo", "rollback goes back one generation, with the files that it was built from, under\nthe same watchdog.")
	o := p.options()
	p.typed("mage rollback %s", demo.HostName)
	result, err := p.Rollback(ctx, demo.HostName, deploy.RollbackOptions{UpdateOptions: o})
	p.showResult(result)
	if err != nil {
		return err
	}
	p.typed("mage generations %s", demo.HostName)
	list, err := p.Generations(ctx, demo.HostName)
	if err != nil {
		return err
	}
	return p.showGenerations(list, false)
}

func (p *player) options() deploy.UpdateOptions {
	o := deploy.DefaultUpdate()
	o.Settle = p.pace.settle
	return o
}

// update is an update that ends well.
func (p *player) update(ctx context.Context) error {
	p.typed("mage update %s -settle=%s", demo.HostName, p.pace.settle)
	results, err := p.Update(ctx, demo.HostName, p.options())
	p.showResults(results)
	return err
}

// lockOut is an update that does not.
func (p *player) lockOut(ctx context.Context) error {
	o := p.options()
	o.Confirm = p.pace.lockedOut
	p.typed("mage update %s -settle=%s -confirm=%s", demo.HostName, o.Settle, o.Confirm)
	results, err := p.Update(ctx, demo.HostName, o)
	p.showResults(results)
	return err
}
