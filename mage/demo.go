package mage

import (
	"context"

	"github.com/dagadbm/vps/mage/internal/demo/stage"
)

// Demo shows the whole life of a server on this machine, in a minute: no Docker, server, keys or network.
func Demo(ctx context.Context) error { return guarded(ctx, stage.Play) }
