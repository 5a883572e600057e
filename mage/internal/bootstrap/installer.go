package bootstrap

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/container"

	"github.com/dagadbm/vps/mage/internal/next"
)

// InstallerPhase is how far an installation has come. Phases only go forward.
type InstallerPhase int

// The phases of nixos-anywhere, in order. Not every run has every one: a server
// that is the installer already skips InstallerKexec, and BuildingDisko happens
// only when the server builds.
const (
	InstallerBuilding         InstallerPhase = iota // builds here, before the server is touched
	InstallerPreparing                              // gets the installer
	InstallerUploadingKey                           // logs in for the first time
	InstallerGatheringFacts                         // asks the old system
	InstallerKexec                                  // replaces it by the installer's, in memory
	InstallerInMemory                               // the installer's system answers
	InstallerBuildingDisko                          // the server builds the partitioning script
	InstallerFormatting                             // wipes the disk
	InstallerCopyingSystem                          // copies or builds the new system
	InstallerCopyingFiles                           // copies the age key and the host key
	InstallerInstalling                             // writes the boot loader
	InstallerRebooting                              // orders the reboot
	InstallerWaitingForReboot                       // waits until the server is gone
	InstallerDone                                   // the old port stopped answering, no more
	installerPhases                                 // how many there are
)

// String is the phase as a person reads it: what is being done.
func (p InstallerPhase) String() string {
	names := [installerPhases]string{
		"building the system", "preparing the installer", "logging in with the install key", "gathering facts",
		"starting the installer on the server", "preparing the disk",
		"building the partitioning script", "formatting the disk", "copying the system",
		"copying the keys", "installing", "rebooting", "waiting for the reboot", "done",
	}
	if p < 0 || p >= installerPhases {
		return fmt.Sprintf("phase %d", int(p))
	}
	return names[p]
}

// InstallerPhaseNamed is the inverse of String, for records on disk.
func InstallerPhaseNamed(name string) (InstallerPhase, bool) {
	for p := range installerPhases {
		if p.String() == name {
			return p, true
		}
	}
	return 0, false
}

// Wiped reports whether the disk may have been wiped.
func (p InstallerPhase) Wiped() bool { return p >= InstallerFormatting }

// HoldsKey reports whether the server's disk may hold the age key.
func (p InstallerPhase) HoldsKey() bool { return p >= InstallerCopyingFiles }

// Installed reports whether the new system is complete on the disk.
func (p InstallerPhase) Installed() bool { return p >= InstallerRebooting }

// Disk says what an installation that ended in this phase may have done to the
// disk.
func (p InstallerPhase) Disk() string {
	switch {
	case !p.Wiped():
		return "its disk is untouched"
	case p <= InstallerCopyingSystem:
		return "its disk is erased, or half so"
	case p <= InstallerInstalling:
		return "its disk is erased, the new system on it is not complete, and it may hold the age key"
	}
	return "the new system is complete on its disk"
}

// installerSteps is what nixos-anywhere announces, between "### " and " ###".
func installerSteps() map[string]InstallerPhase {
	return map[string]InstallerPhase{
		"Uploading install SSH keys":       InstallerUploadingKey,
		"Gathering machine facts":          InstallerGatheringFacts,
		"Switching system into kexec":      InstallerKexec,
		"Building disko script":            InstallerBuildingDisko,
		"Formatting hard drive with disko": InstallerFormatting,
		"Uploading the system closure":     InstallerCopyingSystem,
		"Building the system closure":      InstallerCopyingSystem,
		"Copying extra files":              InstallerCopyingFiles,
		"Installing NixOS":                 InstallerInstalling,
		"Rebooting":                        InstallerRebooting,
		"Waiting for the machine to become unreachable due to reboot": InstallerWaitingForReboot,
		"Done!": InstallerDone,
	}
}

// stepOf gives the step that a line of the installer's standard output announces.
func stepOf(line string) (string, bool) {
	step, ok := strings.CutPrefix(line, "### ")
	if !ok {
		return "", false
	}
	if step, ok = strings.CutSuffix(step, " ###"); !ok {
		return "", false
	}
	return step, true
}

// next is the phase after a step of a stage. One that would lead back is not the
// installer's: the server's own output comes the same way.
func (p InstallerPhase) next(stage container.Stage, step string) InstallerPhase {
	to, ok := installerSteps()[step]
	switch {
	case !ok:
		return p
	case stage == container.StageInstaller && to == InstallerDone: // of this stage
		return InstallerInMemory
	case stage == container.StageInstaller && to == InstallerGatheringFacts && p == InstallerKexec: // facts again, of the installer
		return InstallerInMemory
	case stage == container.StageInstaller && to > InstallerInMemory:
		return p
	}
	return max(p, to)
}

// InstallerDeadlines is how long each phase may take. A phase that is not in it
// has its default, one with a value of zero or less has none.
type InstallerDeadlines map[InstallerPhase]time.Duration

// DefaultInstallerDeadlines gives the limits of the phases. They are many times
// what a phase usually takes: they are there for what would never end.
func DefaultInstallerDeadlines() InstallerDeadlines {
	return InstallerDeadlines{
		InstallerBuilding:         90 * time.Minute, // may compile what no cache has
		InstallerPreparing:        20 * time.Minute, // downloads nixpkgs
		InstallerUploadingKey:     2 * time.Minute,
		InstallerGatheringFacts:   2 * time.Minute,
		InstallerKexec:            20 * time.Minute, // the server downloads some 400 MB, then restarts
		InstallerInMemory:         90 * time.Minute, // two evaluations, and the upload of disko, over a slow line
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

// NextStep is the next thing to do.
func (e *InstallerStuckError) NextStep() next.Step {
	switch e.Loop {
	case InstallerDenied:
		return next.Words("look whether another program on the server rewrites authorized_keys, wait a minute (sshd may have banned this address for a while), then run bootstrap again")
	case InstallerOtherHostKey:
		return next.Words("find out why the server shows another host key now than when bootstrap began (a reinstalled or another machine at this address); if that is right, run bootstrap again")
	case InstallerUnreachable:
		return next.Words("the container reaches the server by another way than this machine: with a VPN here try install.network: host in vps.yaml, then run bootstrap again")
	default:
		setting := strings.ReplaceAll(e.Phase.String(), " ", "-")
		return next.Say("look at the log and at the server's console; if it only needs more time, write in vps.yaml: install: {deadlines: {%s: %v}}, then run bootstrap again", setting, 2*e.Limit)
	}
}

// InstallerError is an installation that did not reach its end.
type InstallerError struct {
	Phase  InstallerPhase
	Code   int      // the installer's exit code, or -1
	Reason string   // what it said last about it; foreign, one line; may be empty
	Lost   bool     // it said that the connection to the server was lost
	Tail   []string // its last lines of output, at most 20, secrets hidden
	Err    error    // how it ended; an *InstallerStuckError if we ended it
}

func newInstallerError(p InstallerPhase, err, cause error, reason string, tail []string) *InstallerError {
	e := &InstallerError{Phase: p, Code: -1, Reason: reason, Tail: tail, Err: err}
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	var stuck *InstallerStuckError
	if errors.As(cause, &stuck) { // the rest is a consequence
		e.Err, e.Reason = stuck, ""
	}
	return e
}

// Error says in which phase it ended and why.
func (e *InstallerError) Error() string {
	why := e.Err.Error()
	var stuck *InstallerStuckError
	switch {
	case errors.As(e.Err, &stuck):
	case e.Lost, e.Reason == "" && e.Code == 255:
		why = "the connection to the server was lost"
	case e.Reason != "":
		why = fmt.Sprintf("%q", e.Reason)
	case e.Code > 0:
		why = fmt.Sprintf("exit code %d", e.Code)
	}
	return fmt.Sprintf("installer failed while %s: %s", e.Phase, why)
}

// Unwrap gives the cause.
func (e *InstallerError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *InstallerError) NextStep() next.Step {
	if step := next.Of(e.Err); !step.IsZero() {
		return step
	}
	switch {
	case e.Phase <= InstallerPreparing:
		return next.Say("nothing has reached the server yet: run %s, mend what the last lines say, then run bootstrap again", next.Target("check"))
	case !e.Phase.Wiped():
		return next.Words("mend what the last lines say, then run bootstrap again; it goes on from the installer if that runs already")
	case e.Phase.Installed():
		return next.Words("run bootstrap again: it waits for the new system and goes on with it")
	case e.Phase == InstallerFormatting:
		return next.Say("compare the disk in nix/modules/disk.nix with what %s shows on the server, then run bootstrap again; it goes on from the installer that is running", next.Shell("lsblk"))
	default:
		return next.Words("mend what the last lines say, then run bootstrap again; it goes on from the installer that is running, with a fresh wipe that it asks for")
	}
}

// InstallerLoop is a reason for which nixos-anywhere tries again for ever.
type InstallerLoop int

// The loops.
const (
	InstallerDenied       InstallerLoop = iota + 1 // the install key is refused
	InstallerOtherHostKey                          // the server shows an unknown host key
	InstallerUnreachable                           // no connection
)

// String says what is wrong.
func (l InstallerLoop) String() string {
	switch l {
	case InstallerDenied:
		return "the server refuses the install key"
	case InstallerOtherHostKey:
		return "the server shows another host key"
	case InstallerUnreachable:
		return "the container cannot reach the server"
	}
	return "no loop"
}

// What OpenSSH says, at the end of a line: programs put their names before it.
var (
	sshDenied      = regexp.MustCompile(`(?:^|: )Permission denied \([a-z0-9@.,-]{1,200}\)\.?$`)
	sshOtherKey    = regexp.MustCompile(`Host key verification failed\.?$`)
	sshUnreachable = regexp.MustCompile(`(?:^|: )(?:ssh: connect to host \S+ port \d+: .+|ssh: Could not resolve hostname .+|kex_exchange_identification: .+|Connection timed out during banner exchange|Connection (?:closed|reset) by \S+ port \d+)$`)
)

// What OpenSSH says of a connection that ended, and the programs that used it.
var sshLost = regexp.MustCompile(`(?:^|: )(?:client_loop: send disconnect: .+|Timeout, server \S+ not responding\.?|Connection to \S+ closed by remote host\.?|Read from remote host \S+: .+|(?:ssh_)?packet_write_wait: .+)$`)

// A program on the server that could not download or unpack the installer's image.
var kexecFailed = regexp.MustCompile(`^(curl: \(\d+\) .+|wget: .+|.*ERROR \d+: .+|(?:g?zip|xz|zstd): .+|tar: .+|.*: unable to resolve host address .+)$`)

// loopIn recognises the complaint of a failed login in a line of the
// installer's standard error.
func loopIn(line string) InstallerLoop {
	switch {
	case sshDenied.MatchString(line):
		return InstallerDenied
	case sshOtherKey.MatchString(line):
		return InstallerOtherHostKey
	case sshUnreachable.MatchString(line):
		return InstallerUnreachable
	}
	return 0
}

// patience is how many complaints mean an endless loop; 0 is any number. Only
// the first login of a stage and the wait for the installer loop. In the others a failed ssh ends the installer, and after the
// order to reboot it is what the installer waits for.
func (p InstallerPhase) patience(l InstallerLoop, connecting bool) int {
	switch {
	case connecting && l == InstallerUnreachable:
		return 3 // it did answer us a moment ago: once may be chance
	case connecting:
		return 1
	case p == InstallerKexec && l == InstallerOtherHostKey:
		return 1
	case p == InstallerKexec && l == InstallerDenied:
		return 2 // the old system on its way out may refuse once
	}
	return 0
}
