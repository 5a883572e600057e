package mage

import (
	"context"

	"github.com/dagadbm/vps/mage/secrets"
	"github.com/magefile/mage/mg"
)

// Secrets are the targets that keep secrets/secrets.yaml and its key.
type Secrets mg.Namespace

// Init makes the age key, .sops.yaml and secrets.yaml, or what is missing of them.
func (Secrets) Init(ctx context.Context,
	sshkey *string, // public key file that may log in; without it, you are asked about the usual ones
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.initSecrets(ctx, path(sshkey)) })
}

// Edit opens the decrypted secrets in your editor and encrypts what you save.
func (Secrets) Edit(ctx context.Context,
	from *string, // go on with an edit that was kept
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.editSecrets(ctx, path(from)) })
}

// Set stores one secret; the value comes from stdin, or is asked for.
func (Secrets) Set(ctx context.Context, name string,
	file *string, // take the value from a file, to the byte
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.setSecret(ctx, name, path(file)) })
}

// Get prints the value of one secret, and nothing else, on stdout.
func (Secrets) Get(ctx context.Context, name string) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.getSecret(ctx, name) })
}

// List shows the names of the secrets and who may read them, never values.
func (Secrets) List(ctx context.Context,
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.listSecrets(ctx, or(json, false)) })
}

// Rotate replaces the age key here and on all hosts; run it again to finish.
func (Secrets) Rotate(ctx context.Context) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		return secrets.Rotate(ctx, s.Dir, s.rotation(ctx))
	})
}

// Check looks for everything that can be wrong with the secrets and their key.
func (Secrets) Check(ctx context.Context,
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error { return s.checkSecrets(ctx, or(json, false)) })
}
