package bootstrap

import "regexp"

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
// two phases loop. In the others a failed ssh ends the installer, and after the
// order to reboot it is what the installer waits for.
func (p InstallerPhase) patience(l InstallerLoop) int {
	switch {
	case p == InstallerUploadingKey && l == InstallerUnreachable:
		return 3 // it did answer us a moment ago: once may be chance
	case p == InstallerUploadingKey:
		return 1
	case p == InstallerKexec && l == InstallerOtherHostKey:
		return 1
	case p == InstallerKexec && l == InstallerDenied:
		return 2 // the old system on its way out may refuse once
	}
	return 0
}
