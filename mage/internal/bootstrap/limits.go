package bootstrap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// The phases of bootstrap that are not the installer's. They name their
// deadlines in vps.yaml; in those of the installer dashes stand for blanks.
const (
	limitImage     = "image"     // downloads the container image
	limitLook      = "look"      // asks the server for its facts
	limitAuthorise = "authorise" // lets the install key in, or out again
	limitBoot      = "boot"      // the new system answers
	limitOptimise  = "optimise"  // makes equal files of the store one
)

// limits is how long phases may take.
type limits struct {
	own       map[string]time.Duration
	installer InstallerDeadlines
}

func newLimits(overrides map[string]time.Duration) (limits, error) {
	l := limits{installer: InstallerDeadlines{}, own: map[string]time.Duration{
		limitImage:     30 * time.Minute,
		limitLook:      time.Minute,
		limitAuthorise: 30 * time.Second,
		limitBoot:      15 * time.Minute,
		limitOptimise:  30 * time.Minute,
	}}
	for name, d := range overrides {
		phase, ok := InstallerPhaseNamed(strings.ReplaceAll(name, "-", " "))
		switch {
		case ok:
			l.installer[phase] = d
		case l.own[name] != 0:
			l.own[name] = d
		default:
			return l, fmt.Errorf("install.deadlines in vps.yaml: there is no phase %q; there are %s", name, strings.Join(l.names(), ", "))
		}
	}
	return l, nil
}

func (l limits) names() []string {
	names := slices.Sorted(maps.Keys(l.own))
	for p := InstallerPreparing; p <= InstallerDone; p++ {
		names = append(names, strings.ReplaceAll(p.String(), " ", "-"))
	}
	return names
}

// within bounds a phase; its end names the phase.
func (l limits) within(ctx context.Context, phase string) (context.Context, context.CancelFunc) {
	d := l.own[phase]
	return context.WithTimeoutCause(ctx, d, &deadlineError{
		fmt.Sprintf("not done within %v (install.deadlines: %s in vps.yaml)", d, phase),
		next.Say("if it only needs more time, give it some in vps.yaml: install: {deadlines: {%s: %v}}", phase, 2*d),
	})
}
