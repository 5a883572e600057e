package secrets

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/getsops/sops/v3/config"
	"golang.org/x/sys/unix"
)

// EditOptions say how to edit; the zero value of each field but Console is
// the usual thing.
type EditOptions struct {
	Console  Console
	Declared []Declared               // secrets that must not disappear
	From     string                   // continue with an edit that was kept, instead of the file
	Getenv   func(name string) string // os.Getenv
	Stdin    io.Reader                // os.Stdin, for the editor
	Stdout   io.Writer                // os.Stdout, for the editor
	Stderr   io.Writer                // os.Stderr, for the editor

	bases []string           // where plaintext may be
	at    func(phase string) // tests stop here
}

func (o EditOptions) withDefaults() EditOptions {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Stdin == nil {
		o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	if o.bases == nil {
		o.bases = plainBases(o.Getenv)
	}
	if o.at == nil {
		o.at = func(string) {}
	}
	return o
}

// editing is one edit under way.
type editing struct {
	EditOptions
	project Project
	ids     *Identities
	file    *file
	old     []byte // the encrypted file as it was
	before  []byte // the plaintext as it was
	path    string // of the plaintext
}

// Edit opens the decrypted file of the project in dir in the person's editor
// and encrypts the result. It reports whether the file was changed. Whatever
// goes wrong, the old file stays; the plaintext folder is gone when Edit
// returns, after SIGINT, SIGTERM and SIGHUP too. An edit that cannot be
// written because somebody else changed the file is kept, encrypted.
func Edit(ctx context.Context, dir string, ids *Identities, options EditOptions) (changed bool, err error) {
	e := &editing{EditOptions: options.withDefaults(), project: Project{dir}, ids: ids}
	if count := sweep(e.bases); count > 0 {
		e.Console.Say("removed %d folder(s) of plaintext that a killed editor left behind", count)
	}
	if e.file, e.old, err = e.project.open(ids); err != nil {
		return false, err
	}
	if err := checkWritable(e.project.SecretsFile()); err != nil {
		return false, fail(err, "Correct the folder's owner, mode or free space first.", "%q cannot be written", e.project.SecretsFile())
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	folder, err := newPlainDir(e.bases)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, folder.remove()) }()
	e.path = filepath.Join(folder.path, "secrets.yaml")
	return e.run(ctx)
}

func (e *editing) run(ctx context.Context) (bool, error) {
	if err := e.writePlain(); err != nil {
		return false, err
	}
	e.at("plaintext")
	for {
		next, err := e.once(ctx)
		if err == nil {
			return next == written, nil
		}
		if ctx.Err() == nil && next == again {
			err = e.askAgain(ctx, err)
		}
		switch {
		case ctx.Err() != nil:
			return false, e.interrupted(ctx)
		case err != nil:
			return false, err
		}
	}
}

// writePlain writes what the editor opens.
func (e *editing) writePlain() error {
	var err error
	if e.before, err = e.file.plain(); err != nil {
		return err
	}
	content := e.before
	if e.From != "" {
		if content, err = e.kept(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(e.path, content, 0o600); err != nil {
		return fail(err, "Make room there, or point TMPDIR at a private folder.", "writing the plaintext for the editor")
	}
	return nil
}

func (e *editing) kept() ([]byte, error) {
	data, err := readFile(e.From)
	if err != nil {
		return nil, err
	}
	f, err := openHinted(data, e.ids, config.NewStoresConfig(), e.From)
	if err != nil {
		return nil, err
	}
	f.store = e.file.store
	return f.plain()
}
