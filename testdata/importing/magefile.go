//go:build mage

// The targets of a repository that has servers of its own: all of ours under the
// name vps, and one more.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/terminal"

	//mage:import vps
	_ "github.com/dagadbm/vps/mage"
)

// Release updates HOST and then looks whether it does its work.
func Release(ctx context.Context, host string) error {
	project, err := open()
	if err != nil {
		return err
	}
	o, err := options(ctx, project, host)
	if err != nil {
		return terminal.Explain(err)
	}
	results, err := project.Update(ctx, host, o)
	if err != nil {
		return terminal.Explain(err) // what failed, the state, what to do; with our exit status
	}
	for _, r := range results {
		if err := smoke(ctx, project, r.Host); err != nil {
			return fmt.Errorf("%s is %s, but does not do its work: %w", r.Host, terminal.Outcome(r.Outcome), err)
		}
	}
	return nil
}

// open sets in Go what vps.yaml has no words for: in a pipeline others shall read
// who started it, not the name of the machine's user.
func open() (*deploy.Project, error) {
	project, err := deploy.Open(".", terminal.New(os.Stdin, os.Stdout, os.Stderr))
	if err == nil && os.Getenv("CI_ACTOR") != "" {
		project.Who = os.Getenv("CI_ACTOR")
	}
	return project, err
}

// options watches servers that people depend on for longer.
func options(ctx context.Context, project *deploy.Project, host string) (deploy.UpdateOptions, error) {
	o := deploy.DefaultUpdate()
	o.Settle = time.Second
	hosts, err := project.Hosts(ctx, host)
	for _, h := range hosts {
		if slices.Contains(h.Tags, "prod") {
			o.Settle = 30 * time.Second
		}
	}
	return o, err
}

// smoke asks the server for its name over SSH. Yours may fetch a page.
func smoke(ctx context.Context, project *deploy.Project, host string) error {
	client, err := project.Login(ctx, host)
	if err != nil {
		return err
	}
	defer client.Close()
	name, err := client.Output(ctx, "uname -n", nil, 1000)
	if err != nil {
		return err
	}
	fmt.Printf("%s answers as %s\n", host, strings.TrimSpace(string(name)))
	return nil
}
