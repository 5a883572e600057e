// Package secrets keeps a project's secrets: the age identities that open them,
// and the sops files that hold them. secrets/secrets.yaml is the usual one; a
// [Project] may name another.
//
// Neither the sops nor the age program is needed, and no format or cryptography
// is our own: the file is read, decrypted, encrypted and written by sops' Go
// packages, and .sops.yaml by sops' own configuration reader. What this package
// writes, the sops program decrypts, edits and rotates, and the other way round.
//
// # Reading
//
//	ids, err := secrets.LoadIdentities(ctx, dir, ask)
//	value, err := secrets.Get(ctx, dir, ids, "gateway-token")
//
// [LoadIdentities] looks in secrets/age-key.txt, then where sops looks, and last at
// the public example key of a fresh clone. A key that others can read is refused.
// Plugins of age are started only if no other identity decrypts. Only age identities open a file: a secrets.yaml
// is foreign input, and the KMS, Vault or PGP keys that it may name would make
// us call servers and programs of its choosing. New data keys are wrapped for
// every kind of recipient that .sops.yaml names.
//
// [Verify] and [VerifyBytes] answer what a deploy has to know: encrypted, MAC
// right, who can decrypt it.
//
// # Writing
//
// [Set], [Edit] and [Init] replace the file atomically and only if nobody else
// has changed it meanwhile; what was written is decrypted again before it
// replaces the old file. Values that did not change keep their ciphertext, so
// that a diff shows what did. [Rotate] replaces the key on all hosts, [Revoke] locks
// a recipient out.
//
// # Consent
//
// That a file or .sops.yaml names a recipient proves nothing: anybody can write
// there. Nothing is encrypted to a recipient that was not confirmed on this machine,
// and no private key goes to a server that was not. What was confirmed is in
// .vps/trust.json.
//
// # What sops leaves to its caller
//
// Decrypting a tree returns its MAC and compares nothing; the MAC covers
// neither the type labels nor the recipients nor comments; base64 with stray
// bits is accepted; a value labelled "bytes" panics, as do paths through a
// text. All of that is checked here, see cipher.go and names.go.
//
// # Names
//
// A name is the keys from the top of the file, joined by dots; an element of a
// list is its index, from 0; a dot or backslash inside a key is escaped with a
// backslash. sops-nix writes the same path with slashes.
//
// # Plaintext
//
// Plaintext is on disk only while an editor is open, in a folder of mode 0700
// on tmpfs where there is one. Every exit that a program can catch removes it,
// and the next run removes what a SIGKILL left behind: a lock on the folder
// tells the two apart.
//
// The package costs a slow first build (minutes), because sops brings every
// cloud's SDK along. No other package of this module may import sops.
package secrets
