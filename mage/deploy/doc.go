// Package deploy holds the workflows: what the targets do, written once, in
// terms of the packages beside it. A [Project] says what is deployed and from
// where; each workflow is a method of it.
//
// Every workflow returns a [*Failure] (or several, joined) when it does not end
// well: what failed on which host, the state that host is in now, the next
// command, and the exit status for the shell.
package deploy
