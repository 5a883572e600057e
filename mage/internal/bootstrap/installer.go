package bootstrap

import (
	"fmt"
	"strings"
)

// InstallerPhase is how far an installation has come. Phases only go forward.
type InstallerPhase int

// The phases of nixos-anywhere, in order. Not every run has every one: a server
// that is the installer already skips InstallerKexec, and BuildingDisko happens
// only when the server builds.
const (
	InstallerPreparing        InstallerPhase = iota // gets the installer, builds here
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
		"preparing the installer", "logging in with the install key", "gathering facts",
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

// ServerState says in what state an installation that ended in this phase
// leaves the server.
func (p InstallerPhase) ServerState() string {
	switch {
	case p <= InstallerGatheringFacts:
		return "the server is as it was"
	case p == InstallerKexec:
		return "the server runs its old system, or the installer in memory; its disk is untouched, and a reboot brings the old system back"
	case p <= InstallerBuildingDisko:
		return "the server runs the installer in memory; its disk is untouched, and a reboot brings the old system back"
	case p <= InstallerCopyingSystem:
		return "the server's disk is wiped, or half so; it runs the installer in memory and must not be rebooted"
	case p <= InstallerInstalling:
		return "the server's disk is wiped and the new system on it is not complete; it may hold the age key already; the server runs the installer in memory and must not be rebooted"
	default:
		return "the new system is installed; the server restarts into it, or is about to"
	}
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

// next is the phase after a line of the installer's standard output. A line
// that would lead back is not the installer's: the server's own output comes
// the same way.
func (p InstallerPhase) next(line string) InstallerPhase {
	step, ok := strings.CutPrefix(line, "### ")
	if !ok {
		return p
	}
	step, ok = strings.CutSuffix(step, " ###")
	if !ok {
		return p
	}
	to, ok := installerSteps()[step]
	switch {
	case !ok:
		return p
	case to == InstallerGatheringFacts && p == InstallerKexec: // facts again, of the installer
		return InstallerInMemory
	}
	return max(p, to)
}
