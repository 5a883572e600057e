package mage

import "context"

// Diff shows what an update would change in HOST's /etc/nixos.
func Diff(ctx context.Context, host string) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		d, changes, err := s.diff(ctx, host)
		if err == nil {
			s.showDiff(d)
			s.showSecretChanges(changes)
		}
		return err
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
