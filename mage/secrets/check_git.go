package secrets

import (
	"context"
	"strings"
)

// git checks that the key stays out of git, now and ever.
func (c *checking) git(ctx context.Context, ids *Identities) {
	if !inGit(ctx, c.project.Dir) {
		for _, name := range []string{"ignored by git", "not tracked", "not in history"} {
			c.add(name, Skipped, "", "not a git repository, or git is not installed")
		}
		return
	}
	if keyIgnored(ctx, c.project) {
		c.add("ignored by git", Pass, "", "%s", keyPath)
	} else {
		c.add("ignored by git", Fail, "Add the line /secrets/age-key*.txt to .gitignore, or run `mage secrets:init`.", "git would take %s", keyPath)
	}
	tracked, err := keyTracked(ctx, c.project.Dir)
	switch {
	case err != nil:
		c.add("not tracked", Skipped, "", "%v", gitError(err))
	case tracked:
		c.add("not tracked", Fail, "Run `git rm --cached secrets/age-key.txt`, then `mage secrets:rotate`.", "git tracks the key")
	default:
		c.add("not tracked", Pass, "", "%s", keyPath)
	}
	c.history(ctx, ids)
}

func (c *checking) history(ctx context.Context, ids *Identities) {
	if ids == nil {
		c.add("not in history", Skipped, "", "there is no key to look for")
		return
	}
	commits, err := keyCommits(ctx, c.project.Dir, ids)
	switch {
	case err != nil:
		c.add("not in history", Skipped, "", "%v", err)
	case len(commits) > 0:
		c.add("not in history", Fail, "Run `mage secrets:rotate`, then change the values: whoever has the repository has the key.",
			"the key is in commit %s", strings.Join(commits, ", "))
	default:
		c.add("not in history", Pass, "", "in no commit of any branch or tag")
	}
}

// leftovers removes plaintext of a killed editor.
func (c *checking) leftovers() {
	if count := sweep(plainBases(c.Getenv)); count > 0 {
		c.add("plaintext", Pass, "", "removed %d folder(s) that a killed editor left behind", count)
		return
	}
	c.add("plaintext", Pass, "", "none left behind")
}
