package mage

import (
	"context"
	"time"
)

// Update deploys the current tree to HOSTS: built there, switched under a watchdog, confirmed over a new login.
func Update(ctx context.Context, hosts string,
	action *string, // switch (default), boot, test, build or dry
	confirm *time.Duration, // roll back unless confirmed within this (60s); 0 for no watchdog
	switchtimeout *time.Duration, // roll back when the switch itself takes longer (10m)
	settle *time.Duration, // watch the units this long before confirming (5s)
	force *bool, // replace a commit this checkout lacks, or a newer nixpkgs
	parallel *int, // hosts at a time (8)
	yes *bool, // login keys that the secrets add are right
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		o := updateOptions(action, confirm, switchtimeout, settle, force, parallel)
		o.Yes = or(yes, false)
		results, err := s.Update(ctx, hosts, o)
		s.showResults(results)
		return err
	})
}
