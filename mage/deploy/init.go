package deploy

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/dagadbm/vps/mage/internal/config"
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
// was left undone. It ends with the commands that come next.
func Init(ctx context.Context, dir string, by Observer, o InitOptions) error {
	b := &beginning{dir: dir, log: logTo(by), getenv: o.Getenv}
	if b.getenv == nil {
		b.getenv = os.Getenv
	}
	if err := b.look(); err != nil {
		return err
	}
	for _, step := range []func() error{b.module, b.magefile, b.config, b.nix, b.ignore} {
		if err := step(); err != nil {
			return &Failure{Code: CodeFailed, Err: err, Now: b.state(),
				Next: next.Words("correct that, then run init again: it goes on where it was")}
		}
	}
	if err := b.secrets(ctx, o); err != nil {
		return err
	}
	b.next()
	return nil
}

// beginning is one call of Init.
type beginning struct {
	dir    string
	log    *observe.Log
	getenv func(string) string
	prefix string // of the targets, as the magefile imports them
	new    int    // files made
	locked bool   // nobody here can read the secrets
}

// look refuses what init would make worse: a second system beside a flake that
// is at the root already.
func (b *beginning) look() error {
	if _, err := os.Stat(b.path("flake.nix")); err != nil {
		return nil
	}
	if _, err := os.Stat(b.path("nix/flake.nix")); err == nil {
		return nil
	}
	return &Failure{Code: CodeUsage, Now: "nothing was changed",
		Err: errors.New("this repository has its flake.nix at the root, and what is deployed is nix/"),
		Next: next.Say("move the flake and its modules below nix/ (%s, and what flake.nix names), then run init again; or run init in another folder",
			next.Shell("git", "mv", "flake.nix", "nix/flake.nix"))}
}

// state says what init has done so far.
func (b *beginning) state() string {
	if b.new == 0 {
		return "nothing was changed"
	}
	return fmt.Sprintf("%d files were made, which the lines above name; nothing that was there was overwritten", b.new)
}

// next tells the commands that follow, which can be typed one after the other on
// this machine.
func (b *beginning) next() {
	caller := next.Caller{Program: next.Launcher(), Prefix: b.prefix}
	var lines [][2]string
	if filepath.Clean(b.dir) != "." {
		lines = append(lines, [2]string{"cd " + next.Quote(b.dir), ""})
	}
	lines = append(lines, [2]string{"go mod tidy", "fetch what the targets need, about 200 MB once"})
	if b.locked {
		lines = append(lines, [2]string{next.Target("secrets:init").For(caller), "make an age key, and send its recipient to who can read the secrets"})
	}
	lines = append(lines,
		[2]string{b.editor() + " vps.yaml", "name your servers"},
		[2]string{next.Target("check").For(caller), "shows what is missing, and what to do about it"})
	width := 0
	for _, l := range lines {
		width = max(width, len(l[0]))
	}
	text := "what comes next:"
	for _, l := range lines {
		text += "\n  " + l[0]
		if l[1] != "" {
			text += strings.Repeat(" ", width-len(l[0])) + "   # " + l[1]
		}
	}
	b.log.Info("%s", text)
}

// editor is one that this machine has.
func (b *beginning) editor() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if b.getenv(name) != "" {
			return "$" + name
		}
	}
	for _, program := range []string{"nano", "vim", "vi", "emacs"} {
		if _, err := exec.LookPath(program); err == nil {
			return program
		}
	}
	return "vi"
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

func (b *beginning) made(name string) {
	b.new++
	b.log.Info("made  %s", name)
}
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
		if err != nil || entry.IsDir() || path.Ext(name) == ".go" {
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
	declared, _, err := (&Project{Dir: b.dir, config: config.Default()}).DeclaredSecrets(ctx)
	if err != nil {
		b.log.Warn("%v", err)
	}
	console := initConsole{b.log}
	if _, err := os.Lstat(b.path(".sops.yaml")); err == nil {
		_, err := secrets.Sources{Dir: b.dir, Getenv: b.getenv, Ask: console.askPassphrase}.Load(ctx)
		if b.locked = errors.Is(err, secrets.ErrNoKey); b.locked {
			// A new key would only come before the right one, once that is here.
			b.log.Warn(".sops.yaml names age keys, and none is on this machine: put yours into secrets/age-key.txt, or its file into SOPS_AGE_KEY_FILE")
			return nil
		}
	}
	_, err = secrets.Init(ctx, b.dir, secrets.InitOptions{
		Console: console, Declared: declared, SSHKey: o.SSHKey, Getenv: o.Getenv,
		Ask: console.askPassphrase,
	})
	if err != nil {
		return &Failure{Code: CodeUsage, Err: err, Now: b.state()}
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

func (c initConsole) askPassphrase(ctx context.Context, file string) (string, error) {
	return c.AskHidden(ctx, fmt.Sprintf("Passphrase of %s: ", file))
}

func (c initConsole) AskHidden(ctx context.Context, question string) (string, error) {
	answer, err := c.log.Password(ctx, question)
	return string(answer), err
}
