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

	//mage:import vps
	_ "github.com/dagadbm/vps/mage"
)

// Release updates HOST and then looks whether it does its work.
func Release(ctx context.Context, host string) error {
	project, err := open()
	if err != nil {
		return err
	}
	results, err := project.Update(ctx, host, options(project, host))
	if err != nil {
		return deploy.Explain(err) // what failed, the state, what to do; with our exit status
	}
	for _, r := range results {
		if err := smoke(ctx, project, r.Host); err != nil {
			return fmt.Errorf("%s is %s, but does not do its work: %w", r.Host, r.Result, err)
		}
	}
	return nil
}

// open sets in Go what vps.yaml has no words for: in a pipeline others shall read
// who started it, not the name of the machine's user.
func open() (*deploy.Project, error) {
	project, err := deploy.OpenStreams(".", os.Stdin, os.Stdout, os.Stderr)
	if err == nil && os.Getenv("CI_ACTOR") != "" {
		project.Who = os.Getenv("CI_ACTOR")
	}
	return project, err
}

// options watches servers that people depend on for longer.
func options(project *deploy.Project, host string) deploy.UpdateOptions {
	o := deploy.DefaultUpdate()
	o.Settle = time.Second
	if entry := project.Config.Lookup(host); entry != nil && slices.Contains(entry.Tags, "prod") {
		o.Settle = 30 * time.Second
	}
	return o
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
