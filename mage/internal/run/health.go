package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagadbm/vps/mage/remote"
)

// latest is how much later than the server's this side's time for confirming ends.
const latest = time.Second

// forVerdict is what of that time is kept for the verdict to travel, and as much again
// for a check to say why it did not end in time.
func forVerdict(confirm time.Duration) time.Duration { return min(2*time.Second, confirm/8) }

// unhealthy is the verdict on a system that the caller's own check found wanting, or
// "". It is asked for after the system's own evidence, and before the server commits.
// Only a connection that broke, or a caller who left, is an error: there is no
// verdict then. A check that ignores its context is not waited for.
func (f *Follower) unhealthy(ctx context.Context, conn Conn) (verdict string, err error) {
	f.sick.Store(nil)
	if f.Healthy == nil {
		return "", nil
	}
	f.story.now("confirming: its units are well; asking the caller's health check")
	sick := f.check(ctx, conn)
	switch {
	case f.life != nil && f.life.Err() != nil:
		return "", context.Cause(f.life)
	case sick == nil:
		return "", nil
	case errors.Is(sick, remote.ErrLost):
		return "", errors.Join(errBrokeOff, sick)
	}
	f.sick.Store(&sick)
	return healthText(sick), nil
}

// check asks the caller's check while the server can still take the verdict.
func (f *Follower) check(ctx context.Context, conn Conn) error {
	end, spare := time.Now().Add(f.limits.Confirm), forVerdict(f.limits.Confirm)
	if given, ok := ctx.Deadline(); ok {
		end = given.Add(-latest)
	}
	late := fmt.Errorf("it did not end in time: the new system has to be confirmed within %v", f.limits.Confirm)
	waiting, cancel := context.WithDeadline(ctx, end.Add(-spare))
	defer cancel()
	checking, cancel := context.WithDeadlineCause(ctx, end.Add(-2*spare), late)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.Healthy(checking, conn) }()
	select {
	case err := <-done:
		if err != nil && checking.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(checking), err)
		}
		return err
	case <-waiting.Done():
		return late
	}
}

// healthText is what a failed check is called, on both sides.
func healthText(sick error) string {
	return oneLine("the caller's health check failed: " + sick.Error())
}

// Unhealthy is why the caller's own check made the run roll back, or nil.
func (f *Follower) Unhealthy() error {
	if sick := f.sick.Load(); sick != nil && f.end != nil && turnedDown(*f.end) {
		return *sick
	}
	return nil
}
