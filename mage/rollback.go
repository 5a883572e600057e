package mage

import (
	"context"

	"github.com/dagadbm/vps/mage/deploy"
)

// Rollback returns HOST to the previous generation and its tree, or cancels a run that waits for confirmation.
func Rollback(ctx context.Context, host string,
	to *int, // the generation to go back to
	force *bool, // also to a generation whose tree is not kept
	action *string, // switch (default), or boot: active after a reboot
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		o := deploy.RollbackOptions{To: or(to, 0), Force: or(force, false), UpdateOptions: updateOptions(action, nil, nil, nil, nil, nil)}
		result, err := s.Rollback(ctx, host, o)
		s.showResult(result)
		return err
	})
}
