package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/google/renameio/v2"
)

const lockName = "flake.lock"

// Move is an input that a new flake.lock pins elsewhere. The zero Pin is an
// input that was not, or is no longer, locked.
type Move struct {
	Input    string
	Old, New Pin
}

// Lock makes or updates nix/flake.lock with Nix in a container, and tells what
// moved. An input limits it to that one; all others stay. The file is replaced
// whole or not at all.
func (p *Project) Lock(ctx context.Context, input string) ([]Move, error) {
	t, err := p.collect(ctx)
	if err != nil {
		return nil, usage(err)
	}
	old, _ := t.File(lockName)
	if err := errors.Join(checkInput(input), p.checkOld(old)); err != nil {
		return nil, usage(err)
	}
	fresh, err := p.newLock(ctx, t, input)
	if err != nil {
		return nil, &Failure{Code: CodeFailed, Err: err, Now: p.flakeFile(lockName) + " is as it was", Next: next.Or(next.Of(err), next.Target("lock"))}
	}
	if err := hasInput(fresh, input); err != nil {
		return nil, usage(err)
	}
	moves, err := movesBetween(old, fresh)
	if err == nil {
		err = p.writeLock(old, fresh)
	}
	if err != nil {
		return nil, &Failure{Code: CodeFailed, Err: err, Now: p.flakeFile(lockName) + " is as it was", Next: next.Target("lock")}
	}
	return moves, nil
}

// Inputs are the inputs that nix/flake.lock pins, for a shell to complete.
func (p *Project) Inputs() []string {
	data, err := os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(p.flakeFile(lockName))))
	if err != nil {
		return nil
	}
	lock, err := facts.ReadLock(data)
	if err != nil {
		return nil
	}
	var names []string
	for _, pin := range lock.Pins() {
		names = append(names, pin.Input)
	}
	return names
}

func resultOf(err error) string {
	if err != nil {
		return "failed"
	}
	return "done"
}

// inputForm is what Nix takes for an input: names, "/" between levels.
var inputForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_'-]*(/[a-zA-Z_][a-zA-Z0-9_'-]*)*$`)

func checkInput(input string) error {
	if input == "" || inputForm.MatchString(input) {
		return nil
	}
	return fmt.Errorf("-input=%s: that is no name of an input", input)
}

// checkOld refuses a lock that Nix could not read either, after a merge by hand
// for example: which revisions it means is for a person to say.
func (p *Project) checkOld(old []byte) error {
	if len(old) == 0 {
		return nil
	}
	if _, err := facts.ReadLock(old); err != nil {
		return &Failure{Code: CodeUsage, Err: err, Now: p.flakeFile(lockName) + " is as it was",
			Next: next.Say("%s, or remove it to pin everything again; then: %s", next.Shell("git", "checkout", p.flakeFile(lockName)), next.Target("lock"))}
	}
	return nil
}

// newLock lets Nix make the lock in a container.
func (p *Project) newLock(ctx context.Context, t *tree.Tree, input string) ([]byte, error) {
	progress := p.log.Progress("lock")
	defer progress.Close()
	line := progress.Host("lock")
	n := p.nix(t, line)
	err := n.GetImage(ctx, line.Phase)
	var data []byte
	if err == nil {
		line.Phase("asking for new revisions")
		data, err = n.Run(ctx, "/work/"+lockName, lockArgs(input)...)
	}
	line.Done(resultOf(err), err)
	return data, err
}

func lockArgs(input string) []string {
	args := []string{"flake", "update"}
	if input != "" {
		args = append(args, input)
	}
	return append(args, "--flake", "path:/work")
}

// hasInput refuses an input that the flake does not have: Nix only warns.
func hasInput(fresh []byte, input string) error {
	lock, err := facts.ReadLock(fresh)
	name, _, _ := strings.Cut(input, "/")
	if _, ok := lock.Pin(name); err != nil || input == "" || ok {
		return nil
	}
	var has []string
	for _, pin := range lock.Pins() {
		has = append(has, pin.Input)
	}
	return fmt.Errorf("-input=%s: flake.nix has no such input; it has %s", input, strings.Join(has, ", "))
}

// movesBetween compares the pins of two locks. No old one is one without pins.
func movesBetween(old, fresh []byte) ([]Move, error) {
	is, err := facts.ReadLock(fresh)
	if err != nil {
		return nil, fmt.Errorf("nix made a lock that is not understood: %w", err)
	}
	was, _ := facts.ReadLock(old)
	var moves []Move
	for _, pin := range is.Pins() {
		before, known := was.Pin(pin.Input)
		if !known || before.Rev != pin.Rev || before.NarHash != pin.NarHash {
			moves = append(moves, Move{Input: pin.Input, Old: pinOf(before), New: pinOf(pin)})
		}
	}
	for _, pin := range was.Pins() {
		if _, stays := is.Pin(pin.Input); !stays {
			moves = append(moves, Move{Input: pin.Input, Old: pinOf(pin)})
		}
	}
	return moves, nil
}

// writeLock replaces nix/flake.lock, unless somebody else did so meanwhile.
func (p *Project) writeLock(old, fresh []byte) error {
	path := filepath.Join(p.Dir, filepath.FromSlash(p.flakeFile(lockName)))
	now, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write nix/flake.lock: %w", err)
	}
	if !bytes.Equal(now, old) {
		return errors.New("nix/flake.lock was changed by somebody else meanwhile")
	}
	if bytes.Equal(now, fresh) {
		return nil
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := renameio.WriteFile(path, fresh, mode); err != nil {
		return fmt.Errorf("write nix/flake.lock: %w", err)
	}
	return nil
}
