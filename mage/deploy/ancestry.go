package deploy

import (
	"context"
	"sync"

	"github.com/dagadbm/vps/mage/internal/git"
)

// ancestry asks git once for each commit whether the checkout in dir builds on it:
// the hosts of a fleet mostly run the same one.
type ancestry struct {
	dir string

	mu    sync.Mutex
	asked map[string]func() (bool, error)
}

func (a *ancestry) contains(ctx context.Context, commit string) (bool, error) {
	a.mu.Lock()
	ask, ok := a.asked[commit]
	if !ok {
		ask = sync.OnceValues(func() (bool, error) { return git.In(a.dir).ContainsCommit(ctx, commit) })
		if a.asked == nil {
			a.asked = map[string]func() (bool, error){}
		}
		a.asked[commit] = ask
	}
	a.mu.Unlock()
	return ask()
}
