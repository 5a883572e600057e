package secrets

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
)

const (
	keyPath     = "secrets/age-key.txt"
	retiredPath = "secrets/age-key-retired-2000-01-01.txt" // as rotation names them
	keyPattern  = "secrets/age-key*.txt"
)

// git checks that the key stays out of git, now and ever.
func (c *checking) git(ctx context.Context, ids *Identities) {
	repo := git.In(c.project.Dir)
	inside, err := repo.Inside(ctx)
	if err != nil || !inside {
		why := "not a git repository"
		if err != nil {
			why = err.Error()
		}
		for _, name := range []string{"ignored by git", "not tracked", "not in history"} {
			c.add(name, Skipped, next.Step{}, "%s", why)
		}
		return
	}
	c.ignored(ctx)
	c.tracked(ctx, repo)
	c.history(ctx, repo, ids)
}

func (c *checking) ignored(ctx context.Context) {
	ignored, err := keyIgnored(ctx, c.project)
	switch {
	case err != nil:
		c.add("ignored by git", Skipped, next.Step{}, "%v", err)
	case ignored:
		c.add("ignored by git", Pass, next.Step{}, "%s", keyPath)
	default:
		c.add("ignored by git", Fail, next.Say("Add the line /secrets/age-key*.txt to .gitignore, or run %s.", next.Target("secrets:init")), "git would take %s", keyPath)
	}
}

func (c *checking) tracked(ctx context.Context, repo *git.Repo) {
	tracked, err := repo.Tracks(ctx, keyPattern)
	switch {
	case err != nil:
		c.add("not tracked", Skipped, next.Step{}, "%v", err)
	case tracked:
		c.add("not tracked", Fail, next.Say("Run %s, then %s.", next.Shell("git", "rm", "--cached", "secrets/age-key.txt"), next.Target("secrets:rotate")), "git tracks the key")
	default:
		c.add("not tracked", Pass, next.Step{}, "%s", keyPath)
	}
}

func (c *checking) history(ctx context.Context, repo *git.Repo, ids *Identities) {
	if ids == nil {
		c.add("not in history", Skipped, next.Step{}, "there is no key to look for")
		return
	}
	commits, err := keyCommits(ctx, repo, ids)
	switch {
	case errors.Is(err, git.ErrShallow):
		c.add("not in history", Skipped, next.Step{}, "%v; `git fetch --unshallow` gets the rest", err)
	case err != nil:
		c.add("not in history", Skipped, next.Step{}, "%v", err)
	case len(commits) > 0:
		c.add("not in history", Fail, next.Say("Run %s, then change the values: whoever has the repository has the key.", next.Target("secrets:rotate")),
			"the key is in %s", strings.Join(commits, ", "))
	default:
		c.add("not in history", Pass, next.Step{}, "in no commit of any branch, tag, stash or reflog")
	}
}

// keyIgnored reports whether git ignores the key file and retired ones.
func keyIgnored(ctx context.Context, project Project) (bool, error) {
	return isIgnored(ctx, project, ignoredLines[0].line, ignoredLines[0].paths)
}

// isIgnored reports whether git ignores all paths. Outside of git the line in
// .gitignore counts.
func isIgnored(ctx context.Context, project Project, line string, paths []string) (bool, error) {
	repo := git.In(project.Dir)
	inside, err := repo.Inside(ctx)
	if errors.Is(err, git.ErrNoGit) || err == nil && !inside {
		data, err := readIgnore(project)
		return err == nil && slices.Contains(strings.Fields(data), line), nil
	}
	for _, path := range paths {
		if err != nil {
			return false, err
		}
		var ignored bool
		if ignored, err = repo.Ignores(ctx, path); err == nil && !ignored {
			return false, nil
		}
	}
	return err == nil, err
}

// keyCommits looks through all that git keeps for one of the identities, under
// whatever name. Keys never become arguments: objects are compared here.
func keyCommits(ctx context.Context, repo *git.Repo, ids *Identities) ([]string, error) {
	own := ids.without([]string{ExampleRecipient})
	found, err := repo.Search(ctx, own.in)
	var out []string
	for _, object := range found {
		if len(object.Commits) == 0 {
			out = append(out, "object "+object.ID)
		}
		for _, commit := range object.Commits {
			out = append(out, "commit "+commit)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// in reports whether data holds one of the keys.
func (ids *Identities) in(data []byte) bool {
	return slices.ContainsFunc(ids.all, func(id identity) bool {
		return bytes.Contains(data, []byte(id.line)) || bytes.Contains(data, []byte(strings.ToLower(id.line)))
	})
}
