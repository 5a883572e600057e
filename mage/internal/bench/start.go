package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// startBudget is what the start of a target may take on a warm cache, as a multiple of
// what mage itself takes: both ask go what changed, and go has to find its tool.
const startBudget = 1.5

// start measures what a target costs before it does anything: something finds out
// each time whether the compiled targets are those of the sources.
func (b *bench) start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "vps-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.warmStart(ctx, dir); err != nil {
		return err
	}
	deps, err := readDependencies(ctx)
	if err != nil {
		return err
	}
	all, without := deps.reach(""), deps.reach(secretsPackage)
	rows := []row{downloadRow(deps, all, without)}
	if !b.quick {
		cold, err := b.coldBuild(ctx, dir, without)
		if err != nil {
			return err
		}
		rows = append(rows, cold...)
	}
	b.table.add("the first build", rows...)
	return nil
}

// spent is what a program took.
type spent struct{ wall, processor time.Duration }

func timed(ctx context.Context, env []string, argv ...string) (spent, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := spent{wall: time.Since(began)}
	if cmd.ProcessState != nil {
		took.processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		return took, fmt.Errorf("%s: %w: %s", argv[0], err, out)
	}
	return took, nil
}

// nothingToDo is a target that ends as soon as it has begun, with an error about
// its argument.
var nothingToDo = []string{"generations", "no-such-host"}

// refusedArgument says that a target was started and found its argument wrong.
func refusedArgument(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 2
}

// warmStart compares the ways to start a target. A machine that has other work to
// do only ever makes it slower, so the least of several tries counts.
func (b *bench) warmStart(ctx context.Context, dir string) error {
	mage, targets := filepath.Join(dir, "mage"), filepath.Join(dir, "targets")
	for _, argv := range [][]string{
		{"go", "build", "-o", mage, "github.com/magefile/mage"}, {mage, "-compile", targets},
		append([]string{"go", "tool", "mage"}, nothingToDo...), // fills the caches
		append([]string{mage}, nothingToDo...),
	} {
		if _, err := timed(ctx, nil, argv...); err != nil && !refusedArgument(err) {
			return err
		}
	}
	var rows []row
	var whole, itself spent
	for _, c := range []struct {
		name string
		argv []string
		best *spent
	}{
		{"go tool mage TARGET", append([]string{"go", "tool", "mage"}, nothingToDo...), &whole},
		{"  of it, go finds its tool", []string{"go", "tool", "-n", "mage"}, nil},
		{"  of it, our own targets", append([]string{targets}, nothingToDo...), nil},
		{"mage itself", append([]string{mage}, nothingToDo...), &itself},
	} {
		var best spent
		for i := range b.tries(10) {
			took, err := timed(ctx, nil, c.argv...)
			if err != nil && !refusedArgument(err) {
				return err
			}
			if i == 0 || took.wall < best.wall {
				best = took
			}
		}
		if c.best != nil {
			*c.best = best
		}
		rows = append(rows, row{name: c.name, ours: seconds(best.wall), figure: seconds(best.processor) + " of processor"})
	}
	most := time.Duration(startBudget * float64(itself.wall))
	rows[0].budget, rows[0].holds = "<= "+seconds(most), whole.wall <= most
	b.table.add("start of a target on a warm cache, the least of "+fmt.Sprint(b.tries(10)), rows...)
	return nil
}

// coldBuild builds the targets, and once more all packages but those that only the
// secrets need, each with empty caches. The modules are there already.
func (b *bench) coldBuild(ctx context.Context, dir string, without []string) ([]row, error) {
	b.note("  a cold build: minutes")
	whole, err := timed(ctx, []string{"GOCACHE=" + filepath.Join(dir, "all"), "MAGEFILE_CACHE=" + filepath.Join(dir, "exe")},
		"go", "tool", "mage", "-l")
	if err != nil {
		return nil, err
	}
	b.note("  once more without what only the secrets need")
	packages := slices.DeleteFunc(slices.Clone(without), func(p string) bool { return p == "unsafe" || needsSecrets[p] })
	less, err := timed(ctx, []string{"GOCACHE=" + filepath.Join(dir, "less")}, append([]string{"go", "build"}, packages...)...)
	if err != nil {
		return nil, err
	}
	return []row{
		{name: "cold build", ours: seconds(whole.wall), figure: seconds(whole.processor) + " of processor"},
		{name: "  without the packages that only secrets need", ours: seconds(less.wall), figure: seconds(less.processor) + " of processor"},
	}, nil
}

func downloadRow(deps dependencies, all, without []string) row {
	bytes, missing := deps.download(all)
	less, _ := deps.download(without)
	r := row{name: "download, and without what only secrets need", ours: megabytes(bytes), figure: megabytes(less)}
	if missing > 0 {
		r.name += fmt.Sprintf(" (%d modules not in the cache)", missing)
	}
	return r
}

var errNoPackages = errors.New("go list names no packages")
