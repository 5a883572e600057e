package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// Action is how far an update or a rollback goes, in the words of nixos-rebuild.
type Action string

// The actions. Only switch and boot make anything persistent.
const (
	ActionSwitch Action = "switch" // build, activate, confirm, commit
	ActionBoot   Action = "boot"   // build, commit; active after a reboot
	ActionTest   Action = "test"   // build, activate, confirm; gone after a reboot
	ActionBuild  Action = "build"  // build only
	ActionDry    Action = "dry"    // build, and say what a switch would do
)

func (a Action) onServer() run.Action { return run.Action(a) }

// System is a kind of processor, as vps.yaml names it.
type System string

// The systems. "" leaves the choice to vps.yaml, or to the server.
const (
	SystemX86 System = "x86" // x86_64-linux
	SystemArm System = "arm" // aarch64-linux
)

// BuildOn is where bootstrap builds a system.
type BuildOn string

// The places to build on. "" is BuildOnAuto.
const (
	BuildOnAuto   BuildOn = "auto"   // on this machine where it has the processor of the server, else on the server
	BuildOnLocal  BuildOn = "local"  // on this machine, in the container
	BuildOnRemote BuildOn = "remote" // on the server
)

// UpdateOptions are the flags of update.
type UpdateOptions struct {
	Action        Action
	Confirm       time.Duration // how long a switched system waits to be confirmed; 0: no watchdog
	SwitchTimeout time.Duration // how long the switch itself may take
	Settle        time.Duration // how long units are watched before confirming
	Force         bool          // deploy over commits this checkout lacks, and older nixpkgs
	Parallel      int           // hosts at a time
	Yes           bool          // login keys that the secrets add are confirmed beforehand

	// Healthy decides whether a system that was switched to may stay, after a new
	// login found it running, its secrets in place and its units well, and before it
	// is committed. An error makes the server roll back, with the error's text as the
	// reason, which is kept on the server; the failure of the host wraps the error.
	//
	// The client is that new login, which the caller must not close; its Target names
	// the host. The context ends while there is still time to roll back within
	// Confirm; a check that does not heed it is not waited for. The check runs again
	// where the login breaks, and side by side for several hosts. It is not asked
	// where nothing is switched to: the actions boot, build and dry, and a tree that
	// makes the same system. Whoever resumes a run that was lost sight of confirms it,
	// with a check or without.
	Healthy func(ctx context.Context, client *remote.Client) error `json:"-"`
}

// DefaultUpdate are the options of a plain update.
func DefaultUpdate() UpdateOptions {
	return UpdateOptions{
		Action:        ActionSwitch,
		Confirm:       60 * time.Second,
		SwitchTimeout: 10 * time.Minute,
		Settle:        5 * time.Second,
		Parallel:      8,
	}
}

func (o UpdateOptions) check() error {
	if _, err := run.ParseAction(string(o.Action)); err != nil {
		return err
	}
	switch {
	case o.Parallel < 1:
		return fmt.Errorf("-parallel=%d: at least one host at a time", o.Parallel)
	case o.Confirm < 0 || o.Settle < 0:
		return fmt.Errorf("-confirm and -settle cannot be negative")
	case o.Healthy != nil && o.Confirm == 0:
		return errors.New("a health check needs -confirm: without a watchdog it could not take the server back")
	case o.SwitchTimeout < time.Second:
		return fmt.Errorf("-switchtimeout=%v: a switch takes at least a second", o.SwitchTimeout)
	case o.Confirm > 0 && o.Settle >= o.Confirm:
		return fmt.Errorf("-settle=%v leaves no time to confirm within -confirm=%v", o.Settle, o.Confirm)
	}
	return nil
}
