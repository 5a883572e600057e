package deploy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
)

// Finding is one thing that was checked.
type Finding = secrets.Finding

// CheckOptions are the flags of check.
type CheckOptions struct {
	Host    string // also look at these HOSTS; "" looks at this machine only
	Offline bool   // start no container
}

// Check looks at everything that can be known before something is changed: the
// project in dir, this machine, Nix's own opinion of nix/, and, if one is named,
// a host. What does not depend on one another is looked at side by side; the
// findings come in the same order always.
func Check(ctx context.Context, dir string, by Observer, o CheckOptions) []Finding {
	p, err := Open(dir, by)
	if err != nil {
		p = withoutConfig(dir, by)
	}
	return p.check(ctx, err, o)
}

// withoutConfig is the project as it is without its vps.yaml.
func withoutConfig(dir string, o Observer) *Project {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	p := &Project{Dir: dir, config: config.Default(), log: logTo(o), Who: "unknown", From: "unknown"}
	p.Dialer = newDialer(p.log)
	return p
}

// Check is the function of that name for a project that was opened already.
func (p *Project) Check(ctx context.Context, o CheckOptions) []Finding { return p.check(ctx, nil, o) }

func (p *Project) check(ctx context.Context, unread error, o CheckOptions) []Finding {
	c := &checker{p: p, o: o, unread: unread}
	c.tree = sync.OnceValues(func() (*tree.Tree, error) { return p.collect(ctx) })
	c.engines = sync.OnceValues(func() (findings, string) { return c.engine(ctx) })
	c.answer = sync.OnceValues(func() (*facts.Answer, error) { return c.ask(ctx) })
	c.prepared = sync.OnceValues(func() (*prepared, error) { return p.prepare(ctx) })
	// In the order in which they are best put right: a key to log in with is among
	// the secrets, and what was put right is committed.
	groups := []func(context.Context) findings{
		c.tools, c.config, c.files, c.lock, c.logins, c.secrets, c.git, c.evaluation, c.host,
	}
	found := make([]findings, len(groups))
	var wg sync.WaitGroup
	for i, group := range groups {
		wg.Go(func() { found[i] = group(ctx) })
	}
	wg.Wait()
	return slices.Concat(found...)
}

// checker is one call of Check.
type checker struct {
	p        *Project
	o        CheckOptions
	unread   error // why vps.yaml is not understood
	tree     func() (*tree.Tree, error)
	engines  func() (l findings, why string) // why Nix cannot be asked, "" if it can
	answer   func() (*facts.Answer, error)   // what Nix says about the tree
	prepared func() (*prepared, error)
}

// findings are those of one group.
type findings []Finding

func (l *findings) pass(name, format string, args ...any) {
	*l = append(*l, Finding{Name: name, Status: secrets.Pass, Detail: fmt.Sprintf(format, args...)})
}

func (l *findings) skip(name, format string, args ...any) {
	*l = append(*l, Finding{Name: name, Status: secrets.Skipped, Detail: fmt.Sprintf(format, args...)})
}

func (l *findings) fail(name string, remedy next.Step, format string, args ...any) {
	*l = append(*l, Finding{Name: name, Status: secrets.Fail, Detail: oneLine(fmt.Sprintf(format, args...)), Next: remedy})
}

// oneLine makes one line of the several that joined errors have.
func oneLine(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ") }

// err is the finding of an error: what it wraps is told without the host's name,
// which the finding has already.
func (l *findings) err(name string, err error, remedy next.Step) {
	var f *Failure
	text := err
	if errors.As(err, &f) {
		text = f.Err
	}
	l.fail(name, next.Or(next.Of(err), remedy), "%v", text)
}

// verdict is a pass, or the error.
func (l *findings) verdict(name string, err error, remedy next.Step, format string, args ...any) {
	if err != nil {
		l.err(name, err, remedy)
		return
	}
	l.pass(name, format, args...)
}
