// Package mage holds the targets: what a person types after "mage".
//
// A server is made once with bootstrap and then changed with update. Everything
// else looks, undoes, or keeps secrets:
//
//	mage bootstrap HOST         install NixOS on a Linux server (erases its disk)
//	mage update HOSTS           deploy the current tree to servers
//	mage diff HOSTS             what an update would change there
//	mage status HOSTS           what runs there, and whether it is what was committed
//	mage generations HOST       the generations that a server keeps
//	mage rollback HOST          back to the generation before, with its tree
//	mage secrets:edit           edit what only you and the server may read
//	mage check                  what could go wrong, here and on a host
//	mage lock                   move nix/flake.lock to the newest inputs
//	mage init                   make a project of a folder
//	mage demo                   see all of this on your own machine
//
// # Hosts
//
// HOST is a name from vps.yaml, an alias of ~/.ssh/config, or
// [user@]address[:port]. HOSTS is one of these, @tag, all, or several with
// commas or blanks between them. status, diff and check without one mean all.
//
// # What update does
//
// It collects nix/ (or the folder that "nix:" in vps.yaml names), every sops file
// and .sops.yaml, without what git ignores, and compares them with the server's
// /etc/nixos. The difference is sent, built there, and switched to under a watchdog.
// Then a new login, on the port that the new system names, looks whether that is
// well. If it is, the system and the tree become the persistent ones, together.
// If nothing confirms within -confirm, the server goes back by itself. Until
// then nothing persistent has changed: a power cut at any moment ends in the last
// confirmed system with the last confirmed tree.
//
// # Exit status
//
//	0  done, or nothing to do
//	1  failed, and the server is as it was
//	2  bad arguments or configuration
//	3  switched, and rolled back
//	4  unreachable
//	5  the outcome is unknown; the message says how to find out
//	6  check found problems
//	7  another run holds the server
//
// Of several hosts the worst counts, in the order 5, 4, 3, 1, 7. The answer goes
// to stdout, the story to stderr. NO_COLOR is respected, and a terminal is not
// needed.
//
// # Interrupting
//
// Ctrl-C never harms a server: a run that was started goes on, and is rolled back
// by the server itself unless it is confirmed. The same command takes it up
// again; rollback cancels it.
//
// # In your own repository
//
// One line in a magefile imports every target:
//
//	//mage:import
//	_ "github.com/dagadbm/vps/mage"
//
// Your own targets use the same packages: see [github.com/dagadbm/vps/mage/deploy].
package mage
