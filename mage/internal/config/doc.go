// Package config turns what a person wrote down (an argument, vps.yaml and
// ssh_config) into resolved hosts.
//
// # Precedence
//
// Each field of a [Host] is taken from the first of these that names it:
//
//  1. the argument: the user and the port of [user@]address[:port];
//  2. vps.yaml, when the argument is one of its names;
//  3. ssh_config for that name, as the user's own ssh would read it;
//  4. ssh_config for the address that vps.yaml gives that name;
//  5. our defaults: user root, port 2222, no identities (the caller then tries
//     the agent and the usual default keys).
//
// A name in vps.yaml therefore always wins over an alias of ssh_config, and
// the address in vps.yaml over a HostName there. Groups are selected with
// @tag and all; several items are joined by commas.
//
// # ssh_config
//
// The ssh program is asked (`ssh -G`), so Match in all its forms, Include, quoting
// and canonical names mean what they mean to ssh. Its answer does not say which
// values were configured and which are ssh's own defaults, and ours differ (2222
// and root, not 22 and the login name), so a second question repeats the first with
// other defaults: what differs between the two answers was not configured. A third,
// once for all hosts, asks what ssh says without any file.
//
// Every keyword of ssh_config(5) has its place in one table (keywords.go): it is
// honoured, refused by name, told when a login fails for want of it, or no part of a
// login. One that the table does not know, of a newer ssh, is refused once a file
// sets it.
//
// On a machine with an ssh_config and no ssh program every host is refused, with the
// reason: what a reader made here could not decide, it would guess, and a guess could
// be another machine. Without any file nothing is asked.
//
// Set VPS_SSH_CONFIG to a file to use it in place of the user's and the
// system's ssh_config (as `ssh -F` does), or to none to use neither.
//
// ProxyCommand and KnownHostsCommand are refused, since no program is run to
// connect. Hosts on the way (ProxyJump) come from ssh_config alone and keep ssh's
// defaults, port 22 and the local login name.
//
// ~ is the home folder of the password file, as for ssh, whatever HOME says.
package config
