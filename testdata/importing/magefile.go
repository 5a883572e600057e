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
	"github.com/dagadbm/vps/mage/remote"
	"github.com/dagadbm/vps/mage/terminal"

	//mage:import vps
	_ "github.com/dagadbm/vps/mage"
)

// Release updates HOST; the new system stays only if it does its work.
func Release(ctx context.Context, host string) error {
	project, err := open()
	if err != nil {
		return err
	}
	o, err := options(ctx, project, host)
	if err != nil {
		return terminal.Explain(err)
	}
	o.Healthy = smoke
	results, err := project.Update(ctx, host, o)
	for _, r := range results {
		fmt.Printf("%s: %s\n", r.Host, terminal.Outcome(r.Outcome))
	}
	return terminal.Explain(err) // what failed, the state, what to do; with our exit status
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

// smoke asks whether the new system does its work, before it is committed: an error
// takes the server back. Ask for your own service, or fetch a page.
func smoke(ctx context.Context, client *remote.Client) error {
	state, err := client.Output(ctx, "systemctl is-active sshd.service", nil, 1000)
	if err != nil {
		return fmt.Errorf("sshd.service is %s: %w", strings.TrimSpace(string(state)), err)
	}
	return nil
}
