package deploy

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/nix"
)

var (
	//go:embed skeleton/magefile.go.txt
	skeletonMagefile string
	//go:embed skeleton/vps.yaml
	skeletonConfig string
)

// InitOptions say how a project begins. The zero value is the usual thing.
type InitOptions struct {
	SSHKey string                   // public key file that may log in; empty: ask about the usual ones
	Getenv func(name string) string // os.Getenv
}

// Init turns a folder, which may be missing, into a project: a magefile, vps.yaml,
// nix/, and the secrets with their key. What is there stays as it is, except that
// missing lines are added to go.mod and .gitignore. Calling it again does what
// was left undone.
func Init(ctx context.Context, dir string, by Observer, o InitOptions) error {
	b := &beginning{dir: dir, log: logTo(by)}
	for _, step := range []func() error{b.module, b.magefile, b.config, b.nix, b.ignore} {
		if err := step(); err != nil {
			return &Failure{Code: CodeFailed, Err: err, Now: "nothing that was there has been overwritten",
				Next: next.Words("correct that, then run init again: it goes on where it was")}
		}
	}
	if err := b.secrets(ctx, o); err != nil {
		return err
	}
	b.next()
	return nil
}

// next tells the three commands that follow.
func (b *beginning) next() {
	cd := ""
	if filepath.Clean(b.dir) != "." {
		cd = "cd " + b.dir + " && "
	}
	b.log.Info("three commands come next:\n" +
		"  " + cd + "go mod tidy           # fetch what the targets need\n" +
		"  $EDITOR vps.yaml             # name your servers\n" +
		"  go tool mage check           # is everything in place? what is red says what to do")
}

// beginning is one call of Init.
type beginning struct {
	dir string
	log *observe.Log
}

func (b *beginning) path(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

// create writes a file unless there is something of that name, and says which.
func (b *beginning) create(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(b.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		b.kept(name)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", name, err), os.Remove(b.path(name)))
	}
	b.made(name)
	return nil
}

func (b *beginning) made(name string) { b.log.Info("made  %s", name) }
func (b *beginning) kept(name string) { b.log.Info("kept  %s, which is there already", name) }

func (b *beginning) config() error { return b.create("vps.yaml", skeletonConfig) }

// nix writes our nix/, unless there is one: a tree of two origins fits neither.
func (b *beginning) nix() error {
	switch list, err := os.ReadDir(b.path("nix")); {
	case err == nil && len(list) > 0:
		b.kept("nix/")
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(b.path("nix"), 0o755); err != nil {
		return err
	}
	err := fs.WalkDir(nix.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := nix.Files.ReadFile(name)
		if err != nil {
			return err
		}
		return b.create("nix/"+name, string(text))
	})
	return err
}

// secrets makes the key and what is encrypted to it.
func (b *beginning) secrets(ctx context.Context, o InitOptions) error {
	declared, _, err := DeclaredSecrets(ctx, b.dir)
	if err != nil {
		b.log.Warn("%v", err)
	}
	console := initConsole{b.log}
	_, err = secrets.Init(ctx, b.dir, secrets.InitOptions{
		Console: console, Declared: declared, SSHKey: o.SSHKey, Getenv: o.Getenv,
		Ask: func(ctx context.Context, file string) (string, error) {
			return console.AskHidden(ctx, fmt.Sprintf("Passphrase of %s: ", file))
		},
	})
	if err != nil {
		return usage(err)
	}
	return nil
}

// initConsole lets package secrets talk to the person.
type initConsole struct{ log *observe.Log }

func (c initConsole) Interactive() bool              { return c.log.Interactive() }
func (c initConsole) Say(format string, args ...any) { c.log.Info(format, args...) }

func (c initConsole) Ask(ctx context.Context, question string) (string, error) {
	return c.log.Line(ctx, question)
}

func (c initConsole) AskHidden(ctx context.Context, question string) (string, error) {
	answer, err := c.log.Password(ctx, question)
	return string(answer), err
}
