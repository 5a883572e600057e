package deploy

import (
	"context"
	"fmt"
	"sync"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
)

// ancestry asks git once about each commit and each tree: the hosts of a fleet mostly
// run the same one.
type ancestry struct {
	p *Project

	mu    sync.Mutex
	asked map[string]func() (bool, error)
}

// contains says whether the checkout builds on a commit.
func (a *ancestry) contains(ctx context.Context, commit string) bool {
	return commit != "" && a.ask("commit "+commit, func() (bool, error) { return git.In(a.p.Dir).ContainsCommit(ctx, commit) })
}

// holds says whether the checkout, or a commit that it builds on, has the very tree
// with a digest.
func (a *ancestry) holds(ctx context.Context, digest string) bool {
	return a.ask("tree "+digest, func() (bool, error) {
		source, err := a.p.source(ctx)
		if err != nil {
			return false, err
		}
		commit, err := source.CommitOf(ctx, digest)
		return commit != "", err
	})
}

// shallow says whether the checkout has only the end of its history, as a CI job's.
func (a *ancestry) shallow(ctx context.Context) bool {
	return a.ask("shallow", func() (bool, error) { return git.In(a.p.Dir).Shallow(ctx) })
}

// ask gives the answer to a question that is put once. No answer is a no.
func (a *ancestry) ask(question string, put func() (bool, error)) bool {
	a.mu.Lock()
	ask, ok := a.asked[question]
	if !ok {
		ask = sync.OnceValues(put)
		if a.asked == nil {
			a.asked = map[string]func() (bool, error){}
		}
		a.asked[question] = ask
	}
	a.mu.Unlock()
	yes, err := ask()
	return err == nil && yes
}

// refuseCommit keeps one laptop from undoing what another deployed unseen: commits
// that this checkout lacks, and changes of somebody else that are in no commit. What
// counts is what was deployed, whatever its commit is called here.
func (p *Project) refuseCommit(ctx context.Context, h config.Host, pre *prepared, f run.Facts, force bool) error {
	r := f.Record
	if r == nil || force || r.Digest == pre.digest {
		return nil
	}
	mine := !r.Dirty || r.Who == p.Who && r.From == p.From
	if mine && (r.Commit == "" || pre.history.contains(ctx, r.Commit)) || pre.history.holds(ctx, r.Digest) {
		return nil
	}
	by := fmt.Sprintf("%s from %s, %s", r.Who, r.From, r.When.Local().Format("2006-01-02 15:04"))
	switch {
	case !mine && (r.Commit == "" || pre.history.contains(ctx, r.Commit)):
		return refused(h.Name, next.Say("have them committed, then %s and try again, or replace them with -force", next.Shell("git", "pull")),
			"the server runs changes that are in no commit (by %s): this update would remove them", by)
	case pre.history.shallow(ctx):
		return refused(h.Name, next.Say("%s (in a CI job: fetch-depth: 0) and try again, or replace it with -force",
			next.Shell("git", "fetch", "--unshallow")),
			"the server runs commit %s (by %s), and this checkout is a shallow clone: whether it contains that commit is unknown", short(r.Commit), by)
	}
	return refused(h.Name, next.Say("%s and try again, or replace it with -force", next.Shell("git", "pull")),
		"the server runs commit %s (by %s), which this checkout does not contain", short(r.Commit), by)
}
