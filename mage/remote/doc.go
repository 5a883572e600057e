// Package remote reaches servers over SSH, natively: no ssh program is needed.
//
// A [Dialer] turns a [Target] into a [Client]. A Client runs commands, speaks
// SFTP, uploads files and forwards ports. One Dialer serves a whole invocation:
// it remembers decrypted keys, the answers of people and agents, and which key
// each server accepted, so that later logins ask nothing and guess nothing.
//
// # What is verified, and when
//
// The order of events of [Dialer.Dial], for every jump host and then the target:
//
//  1. Identities are collected before anything is sent. An explicit identity
//     that is missing, unreadable, not a key, or readable by others is an
//     [*IdentityError] here, unless an agent holds the same key.
//  2. TCP connects within ConnectTimeout, else [*UnreachableError] says which
//     hop failed and how: refused, timeout, name, route.
//  3. The server's host key is verified during the key exchange, before any
//     name, key or signature of ours is sent:
//     a pinned Target.HostKey alone decides where there is one;
//     else known_hosts decides (plain and hashed names, [host]:port, @revoked,
//     @cert-authority; a line that cannot be parsed is skipped, as ssh does);
//     else a fingerprint in Dialer.AcceptHostKeys;
//     else a person, who is shown type and fingerprint.
//     A key that differs from a known one is always refused
//     ([*HostKeyMismatchError]), whatever flags or people say; so is a revoked
//     one. Only algorithms of keys that are known for the host are offered, so
//     a server cannot present another type of key instead. A key exchange later
//     in the connection must present the same key again.
//  4. Keys are offered one at a time by their public half. A private key is
//     unlocked, and its passphrase asked for, only after the server said that
//     it would accept that key. Passwords are never sent.
//
// Steps 3 and 4 share HandshakeTimeout, in which the time that a person or an
// agent takes does not count. Afterwards the connection is watched: a link that
// stays silent for KeepAlive four times in a row is given up, every command on it
// ends with [ErrLost], and [Client.Done] is closed.
//
// # Which keys are offered
//
// Explicit identities in their order (through the agent where it holds the key:
// no passphrase then), then the agent's other keys unless IdentitiesOnly, then,
// without explicit identities, ~/.ssh/id_ed25519, id_ecdsa and id_rsa. A
// certificate beside a key (-cert.pub) is offered before the key. Hardware keys
// (*_sk) work through an agent. The key that a server accepted before goes first.
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
