package mage

import (
	"context"

	"github.com/magefile/mage/mg"
)

// Secrets are the targets that keep the sops files of a project and its key.
type Secrets mg.Namespace

// Init makes the age key, .sops.yaml and secrets.yaml, or what is missing of them.
func (Secrets) Init(ctx context.Context,
	sshkey *string, // public key file that may log in; without it, you are asked about the usual ones
	yes *string, // recipients that may decrypt from now on, with commas between
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		return s.initSecrets(ctx, path(sshkey), or(yes, ""))
	})
}

// Edit opens the decrypted secrets in your editor and encrypts what you save.
func (Secrets) Edit(ctx context.Context,
	from *string, // go on with an edit that was kept
	file *string, // the sops file (secrets/secrets.yaml)
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.editSecrets(ctx, path(from), or(file, "")) })
}

// Set stores one secret; the value comes from stdin, or is asked for.
func (Secrets) Set(ctx context.Context, name string,
	from *string, // take the value from this file, to the byte
	file *string, // the sops file (secrets/secrets.yaml)
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		return s.setSecret(ctx, name, path(from), or(file, ""))
	})
}

// Get prints the value of one secret, and nothing else, on stdout.
func (Secrets) Get(ctx context.Context, name string,
	file *string, // the sops file (secrets/secrets.yaml)
	copy *bool, // put it into the terminal's clipboard in place of printing it
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		return s.getSecret(ctx, name, or(file, ""), or(copy, false))
	})
}

// List shows the names of the secrets and who may read them, never values.
func (Secrets) List(ctx context.Context,
	file *string, // the one sops file to list; else all that .sops.yaml matches
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.listSecrets(ctx, or(file, ""), or(json, false)) })
}

// Rotate replaces the age key here and on all hosts; run it again to finish.
func (Secrets) Rotate(ctx context.Context,
	file *string, // make a new data key for this sops file, and leave the age keys alone
	host *string, // replace only the age key of this host, which has its own (ageKey: own)
	yes *string, // host keys (SHA256:…) of servers that a key may go to, with commas between
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		return s.rotateSecrets(ctx, or(file, ""), or(host, ""), or(yes, ""))
	})
}

// Revoke locks out WHO, a recipient or its name in .sops.yaml, and lists what it could read.
func (Secrets) Revoke(ctx context.Context, who string,
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.revoke(ctx, who, or(json, false)) })
}

// Check looks for everything that can be wrong with the secrets and their key.
func (Secrets) Check(ctx context.Context,
	file *string, // the one sops file to check; else all that .sops.yaml matches
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.checkSecrets(ctx, or(file, ""), or(json, false)) })
}
