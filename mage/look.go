package mage

import (
	"context"
	"errors"
)

// Diff shows what an update would change in /etc/nixos of HOSTS.
func Diff(ctx context.Context, hosts string) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		list, err := s.Hosts(ctx, hosts)
		if err != nil {
			return err
		}
		var failed []error
		for _, h := range list {
			d, changes, err := s.diff(ctx, h.Name)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			if len(list) > 1 {
				s.UI.Info("%s:", h.Name)
			}
			s.showDiff(d)
			s.showSecretChanges(changes)
		}
		return errors.Join(failed...)
	})
}

// Generations lists the generations that HOST keeps, and the commits that made them.
func Generations(ctx context.Context, host string,
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		list, err := s.Generations(ctx, host)
		if err != nil {
			return err
		}
		return s.showGenerations(list, or(json, false))
	})
}

// Status shows what runs on HOSTS, and whether it is what was committed.
func Status(ctx context.Context, hosts string,
	json *bool, // print JSON
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		list, err := s.Status(ctx, hosts, 8)
		if shown := s.showStatus(list, or(json, false)); shown != nil {
			return shown
		}
		return err
	})
}
