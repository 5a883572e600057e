package run

import (
	"errors"
	"slices"

	"github.com/dagadbm/vps/mage/remote"
)

// Root is a program that makes a login root without asking for a password.
type Root string

// The programs that are tried, in this order.
const (
	Sudo Root = "sudo"
	Doas Root = "doas"
	Run0 Root = "run0"
)

var roots = []Root{Sudo, Doas, Run0}

// rootWords are what goes before a command; the options keep the programs from
// waiting for a password.
var rootWords = map[Root]string{
	Sudo: "sudo -n ",
	Doas: "doas -n ",
	Run0: "run0 --no-ask-password ",
}

// ShellOf is the shell of a login as user, which becomes root by sudo unless it is.
func ShellOf(user string) Shell {
	if user == "" || user == "root" {
		return Shell{}
	}
	return Shell{Root: Sudo}
}

// Other is the shell with the next program to become root by, for a server on which
// this one does not work. It is false when there is none.
func (s Shell) Other() (Shell, bool) {
	at := slices.Index(roots, s.Root)
	if at < 0 || at+1 == len(roots) {
		return s, false
	}
	return Shell{Root: roots[at+1]}, true
}

// asRoot asks a question by the link's shell. It fails where the program is not there
// by which the login becomes root, or wants a password: then the next one is tried,
// and remembered if it works. If none does, the first one's failure is told.
func (l *Link) asRoot(ask func(Shell) error) error {
	first := ask(l.Shell)
	var exit *remote.ExitError
	for shell, more := l.Shell.Other(); errors.As(first, &exit) && more; shell, more = shell.Other() {
		if ask(shell) == nil {
			l.Shell = shell
			return nil
		}
	}
	return first
}
