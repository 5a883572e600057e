// Package remote reaches servers over SSH, natively: no ssh program is needed.
//
// A [Dialer] turns a [Target] into a [Client]. A Client runs commands, speaks
// SFTP, uploads files, forwards ports and gives a command a terminal. One Dialer serves a whole invocation:
// it remembers decrypted keys, the answers of people and agents, and which key
// each server accepted, so that later logins ask nothing and guess nothing.
//
// # What is verified, and when
//
// The order of events of [Dialer.Dial], for every jump host and then the target:
//
//  1. Identities are collected before anything is sent. An explicit identity
//     that is missing, unreadable, not a key, or readable by others is an
//     [*IdentityError] here, unless an agent holds the same key; those of
//     ssh_config (Target.SkipUnusable) are passed over, as ssh does.
//  2. TCP connects within ConnectTimeout, else [*UnreachableError] says which
//     hop failed and how: refused, timeout, name, route. Once a login was
//     verified, later ones go to the same address, whatever the name leads to
//     by then.
//  3. The server's host key is verified during the key exchange, before any
//     name, key or signature of ours is sent. A key that RevokedHostKeys or a
//     @revoked line names is refused, also where it is pinned. Then
//     a pinned Target.HostKey alone decides where there is one;
//     else known_hosts decides (plain and hashed names, [host]:port, and the
//     name without a port where there is no line with it; @cert-authority; a
//     line that cannot be parsed is skipped, as ssh does);
//     else a fingerprint in Dialer.AcceptHostKeys;
//     else a person, who is shown type and fingerprint, or what
//     StrictHostKeyChecking says (yes, accept-new; never no).
//     A key that differs from a known one is always refused
//     ([*HostKeyMismatchError]), whatever flags or people say. Only algorithms
//     of keys that are known for the host are offered, so a server cannot
//     present another type of key instead. A key exchange later in the
//     connection must present the same key again. At the first contact the
//     server's keys of all types are recorded, as it proves them.
//  4. Keys are offered one at a time by their public half. A private key is
//     unlocked, and its passphrase asked for, only after the server said that
//     it would accept that key. What a server asks beside a key, or in place of
//     one (keyboard-interactive), is asked of the person at the terminal. The
//     method "password" is never used. Nothing in SHA-1 is offered.
//
// Steps 3 and 4 share HandshakeTimeout, in which the time that a person or an
// agent takes does not count; a server that sends the person to a page is given
// ten minutes. Dialer.Notice tells what is waited for. Afterwards the connection
// is watched: a link that stays silent for KeepAlive four times in a row is given
// up, every command on it ends with [ErrLost], and [Client.Done] is closed.
//
// # Which keys are offered
//
// In ssh's order, because servers allow a few tries only: certificates named by
// Target.Certificates; keys of the agent that are identities, too; the agent's
// others, unless IdentitiesOnly; identities that only their files have. Without
// identities these are the usual ones of ~/.ssh, id_rsa, id_ecdsa and id_ed25519.
// An identity that must be usable goes before the agent's others. A certificate
// beside a key (-cert.pub) is offered before the key. Hardware keys (*_sk) work
// through an agent. The key that a server accepted before goes first.
//
// # Cost
//
// Dial and the first [Client.Run] take nine round trips together: TCP, version,
// key exchange, service, "none", key query, signature, channel, command.
// [Client.Prepare] and [Client.PrepareSFTP] open what comes next in the
// background; then a command costs one round trip, and an upload three.
// Standard input costs one more, because OpenSSH grants a command no window
// before it runs; a short script travels cheaper in the command line itself.
//
// # Hostile servers
//
// Every wait ends with its context. Output is bounded by the receiver's own pace
// and by the limit given to [Client.Output]; greetings are bounded; text from the
// server is stripped of control and escape sequences before it is put into an
// error.
package remote
