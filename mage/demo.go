package mage

import (
	"context"
	"time"

	"github.com/dagadbm/vps/mage/internal/term"
)

// Demo plays the whole life of a server here, in under a minute: no Docker, server, keys or network.
func Demo(ctx context.Context) error {
	return guarded(ctx, func(ctx context.Context) error {
		return runDemo(ctx, term.Std(), demoPace{settle: time.Second, lockedOut: 5 * time.Second})
	})
}
