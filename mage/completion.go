package mage

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
)

// Completion prints what makes a shell (bash, zsh or fish) complete targets, hosts, flags and secrets.
func Completion(ctx context.Context, shell string) error {
	return guarded(ctx, func(context.Context) error {
		script, err := cmdline.Script(shell, next.Here().Program)
		if err != nil {
			return &deploy.Failure{Code: deploy.CodeUsage, Err: err, Next: next.Target("completion", "bash")}
		}
		_, err = io.WriteString(term.Std().Out(), script)
		return err
	})
}

// complete prints what could be typed, for a shell. It asks nobody and says
// nothing: what is not known is not offered.
func complete(targets []cmdline.Target, words []string) {
	r := &cmdline.Reader{Targets: targets, Listed: next.Listed}
	for _, c := range r.Complete(words, projectValues()) {
		fmt.Printf("%s\t%s\n", term.Clean(c.Word), term.Clean(c.Doc))
	}
}

// completionWait bounds what a person waits for after a tabulator.
const completionWait = 3 * time.Second

// projectValues are the values that could be typed in the present project.
func projectValues() cmdline.Values {
	open := sync.OnceValue(func() *deploy.Project {
		p, err := deploy.Open(".", nil)
		if err != nil {
			return nil
		}
		return p
	})
	in := func(words func(context.Context, *deploy.Project) []string) []cmdline.Candidate {
		p := open()
		if p == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionWait)
		defer cancel()
		var all []cmdline.Candidate
		for _, w := range words(ctx, p) {
			all = append(all, cmdline.Candidate{Word: w})
		}
		return all
	}
	return cmdline.Values{
		Hosts: func() []cmdline.Candidate {
			return in(func(_ context.Context, p *deploy.Project) []string { return p.Words() })
		},
		Secrets: func() []cmdline.Candidate {
			return in(func(ctx context.Context, p *deploy.Project) (names []string) {
				list, _ := secrets.List(ctx, p.Dir, nil)
				for _, l := range list {
					names = append(names, l.Name)
				}
				return names
			})
		},
		Generations: func(host string) []cmdline.Candidate {
			return in(func(ctx context.Context, p *deploy.Project) (numbers []string) {
				list, _ := p.Generations(ctx, host)
				for _, g := range list {
					numbers = append(numbers, fmt.Sprint(g.Number))
				}
				return numbers
			})
		},
		Inputs: func() []cmdline.Candidate {
			return in(func(_ context.Context, p *deploy.Project) []string { return p.Inputs() })
		},
	}
}
