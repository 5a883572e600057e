package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// Pace is how long the demo waits where a real update waits longer: for the
// units to settle, and for a confirmation that cannot come.
type Pace struct{ Settle, LockedOut time.Duration }

// Stage is where the demo is played: the program of the targets, and who watches.
type Stage struct {
	Targets []string    // the program, and arguments before those of a target
	Caller  next.Caller // how a person calls it
	Stdout  io.Writer
	Stderr  io.Writer
	Pace    Pace
}

// player plays the steps of the demo.
type player struct {
	Stage
	lab  *Lab
	step int
}

const introduction = `The whole life of a server, on this machine.

Simulated: the operating system of the server, that is systemd, and the building
and activating of NixOS. It all happens in a folder, so a "build" takes no time.
Real: the targets, SSH and SFTP over 127.0.0.1, the host key, age and sops, the
supervisor script, its lock, its watchdog, its rollback.`

// Play plays the whole life of a server. Every target is run as a person would
// run it, in a project of its own that is gone afterwards.
func Play(ctx context.Context, stage Stage) (err error) {
	began := time.Now()
	lab, err := New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	p := &player{Stage: stage, lab: lab}
	p.tell("%s", introduction)
	for _, play := range []func(context.Context) error{
		p.begin, p.secret, p.server, p.firstUpdate, p.goodChange, p.badChange, p.look, p.goBack,
	} {
		if err := play(ctx); err != nil {
			return err
		}
	}
	p.tell("\nThat was a server's life, in %s; the folder it happened in is removed again.", time.Since(began).Round(time.Second))
	p.tell("Your own, in an empty repository: go run github.com/dagadbm/vps/mage/cmd/vps-init@latest")
	return nil
}

func (p *player) tell(format string, args ...any) { fmt.Fprintf(p.Stderr, format+"\n", args...) }

// say begins a step.
func (p *player) say(title, text string) {
	p.step++
	p.tell("\n== %d. %s\n%s", p.step, title, text)
}

// runs runs a target, which must end with an exit status.
func (p *player) runs(ctx context.Context, want int, target string, args ...string) error {
	return p.reads(ctx, "", want, target, args...)
}

// reads is runs for a target that reads a text from stdin.
func (p *player) reads(ctx context.Context, stdin string, want int, target string, args ...string) error {
	line := next.Target(target, args...).For(p.Caller)
	if stdin != "" {
		line = "echo " + next.Quote(stdin) + " | " + line
	}
	p.tell("\n$ %s", line)
	argv := append(append([]string{}, p.Targets...), p.Caller.Prefix+target)
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], args...)...)
	cmd.Dir = p.lab.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin+"\n"), p.Stdout, p.Stderr
	// Nothing of the person's own: no keys, no ssh_config.
	cmd.Env = append(os.Environ(), "VPS_SSH_CONFIG=none", "SSH_AUTH_SOCK=", "SOPS_AGE_KEY=", "SOPS_AGE_KEY_FILE=",
		"HOME="+p.lab.base, "MAGEFILE_LIST=", "MAGEFILE_HELP=")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil && want == 0:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == want:
		p.tell("exit status %d", want)
		return nil
	case errors.As(err, &exit), err == nil:
		return fmt.Errorf("the demo's %q was to end with exit status %d: %v", line, want, err)
	}
	return fmt.Errorf("start the targets: %w", err)
}

func (p *player) begin(ctx context.Context) error {
	p.say("A project", "An empty folder becomes a project: a magefile, the NixOS configuration, and\nsecrets that are encrypted to a key made for it.")
	key, err := p.lab.loginKey()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.lab.Dir, 0o755); err != nil {
		return err
	}
	return p.runs(ctx, 0, "init", "-sshkey="+key)
}

func (p *player) secret(ctx context.Context) error {
	p.say("Secrets", "A value comes from stdin, never from an argument. Only the project's age key\nand the servers that have it can read secrets/secrets.yaml.")
	if err := p.reads(ctx, "correct-horse", 0, "secrets:set", "gateway-token"); err != nil {
		return err
	}
	return p.runs(ctx, 0, "secrets:list")
}

func (p *player) server(ctx context.Context) error {
	p.say("A server", "bootstrap installs NixOS on any Linux server. That takes a machine and minutes, so\nhere the server runs already, and vps.yaml names it with its host key. check looks at\nall that can be known before anything is changed.")
	if err := p.lab.StartServer(); err != nil {
		return err
	}
	if err := p.commit(ctx, "A server"); err != nil {
		return err
	}
	return p.runs(ctx, 0, "status", HostName)
}

func (p *player) firstUpdate(ctx context.Context) error {
	p.say("The first update", "It deploys the configuration and the secrets to the server.")
	return p.update(ctx)
}

func (p *player) commit(ctx context.Context, message string) error {
	p.tell("\n$ git add -A && git commit -m %s", next.Quote(message))
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
	if err := p.runs(ctx, 0, "diff", HostName); err != nil {
		return err
	}
	return p.update(ctx)
}

// rolledBack is the exit status of an update that was switched to and undone.
const rolledBack = 3

func (p *player) badChange(ctx context.Context) error {
	p.say("A change that locks everybody out", "enable = false for SSH, in nix/modules/security.nix. The server builds it and\nswitches to it; SSH is gone. Nobody can confirm, so the watchdog rolls it back.")
	if err := p.lab.LockOut(); err != nil {
		return err
	}
	err := p.runs(ctx, rolledBack, "update", HostName, "-settle="+p.Pace.Settle.String(), "-confirm="+p.Pace.LockedOut.String())
	return errors.Join(err, p.lab.LetIn())
}

func (p *player) look(ctx context.Context) error {
	p.say("Afterwards", "SSH is back, with the system and the /etc/nixos of the update before.")
	return p.runs(ctx, 0, "status", HostName)
}

func (p *player) goBack(ctx context.Context) error {
	p.say("Undo", "rollback goes back one generation, with the files that it was built from, under\nthe same watchdog.")
	if err := p.runs(ctx, 0, "rollback", HostName); err != nil {
		return err
	}
	return p.runs(ctx, 0, "generations", HostName)
}

// update is an update that ends well.
func (p *player) update(ctx context.Context) error {
	return p.runs(ctx, 0, "update", HostName, "-settle="+p.Pace.Settle.String())
}
