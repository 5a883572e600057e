package bootstrap

import (
	"fmt"
	"time"
)

// InstallerDeadlines is how long each phase may take. A phase that is not in it
// has its default, one with a value of zero or less has none.
type InstallerDeadlines map[InstallerPhase]time.Duration

// DefaultInstallerDeadlines gives the limits of the phases. They are many times
// what a phase usually takes: they are there for what would never end.
func DefaultInstallerDeadlines() InstallerDeadlines {
	return InstallerDeadlines{
		InstallerPreparing:        90 * time.Minute, // may compile what no cache has
		InstallerUploadingKey:     2 * time.Minute,
		InstallerGatheringFacts:   2 * time.Minute,
		InstallerKexec:            20 * time.Minute, // the server downloads some 400 MB, then restarts
		InstallerInMemory:         90 * time.Minute, // with --build-on auto, what is built here is built now
		InstallerBuildingDisko:    60 * time.Minute,
		InstallerFormatting:       15 * time.Minute,
		InstallerCopyingSystem:    3 * time.Hour, // a slow uplink, or a small server that compiles
		InstallerCopyingFiles:     3 * time.Minute,
		InstallerInstalling:       20 * time.Minute,
		InstallerRebooting:        2 * time.Minute,
		InstallerWaitingForReboot: 10 * time.Minute,
		InstallerDone:             time.Minute,
	}
}

// of is the limit of a phase.
func (d InstallerDeadlines) of(p InstallerPhase) time.Duration {
	if limit, ok := d[p]; ok {
		return limit
	}
	return DefaultInstallerDeadlines()[p]
}

// InstallerStuckError is why we ended an installation that would not have ended
// by itself.
type InstallerStuckError struct {
	Phase InstallerPhase
	Loop  InstallerLoop // the endless loop, or 0: out of time
	Line  string        // by which the loop was recognised
	Limit time.Duration // that was passed, if out of time
}

// Error says what it was waiting for.
func (e *InstallerStuckError) Error() string {
	if e.Loop == 0 {
		return fmt.Sprintf("not finished with %s after %s", e.Phase, e.Limit)
	}
	return fmt.Sprintf("%s, while %s: %q", e.Loop, e.Phase, e.Line)
}

// Hint is the next thing to do.
func (e *InstallerStuckError) Hint() string {
	switch e.Loop {
	case InstallerDenied:
		return "look whether another program on the server rewrites authorized_keys, wait a minute (sshd may have banned this address for a while), then run bootstrap again"
	case InstallerOtherHostKey:
		return "find out why the server shows another host key now than when bootstrap began (a reinstalled or another machine at this address); if that is right, run bootstrap again"
	case InstallerUnreachable:
		return "the container reaches the server by another way than this machine: with a VPN here try install.network: host in vps.yaml, then run bootstrap again"
	default:
		return "look at the log and at the server's console, then run bootstrap again"
	}
}
