package deploy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/observe"
)

// fleet runs work for every host, parallel at a time. A host that fails never
// stops another; results come in the order of the hosts.
func (p *Project) fleet(ctx context.Context, hosts []config.Host, parallel int, work func(context.Context, config.Host, *observe.Line) Result) []Result {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	progress := p.log.Progress(names...)
	defer progress.Close()
	results := make([]Result, len(hosts))
	places := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, h := range hosts {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			line := progress.Host(h.Name)
			began := time.Now()
			results[i] = work(ctx, h, line)
			results[i].Time = time.Since(began)
			line.Ended(string(results[i].Outcome), results[i].shown, results[i].Err)
		})
	}
	wg.Wait()
	return results
}

// FleetError is the failure of some of several hosts.
type FleetError struct {
	All  int     // hosts
	Errs []error // of those that failed, in the order of the hosts
	Code Code    // the worst
}

func (e *FleetError) Error() string { return fmt.Sprintf("%d of %d hosts failed", len(e.Errs), e.All) }

// Unwrap gives the failures of the hosts.
func (e *FleetError) Unwrap() []error { return e.Errs }

// ExitStatus is the worst of the hosts'.
func (e *FleetError) ExitStatus() int { return int(e.Code) }

// summary is the error of several results together: that of the only host as it
// is, else one that names how many failed.
func summary(results []Result) error {
	var errs []error
	var codes []Code
	for _, r := range results {
		if r.Err != nil {
			errs = append(errs, r.Err)
			codes = append(codes, codeOf(r.Err))
		}
	}
	switch {
	case len(errs) == 0:
		return nil
	case len(results) == 1:
		return errs[0]
	}
	return &FleetError{All: len(results), Errs: errs, Code: worst(codes)}
}

// ExitStatus gives the exit status that an error of a workflow stands for.
func ExitStatus(err error) int {
	var exit interface{ ExitStatus() int }
	if errors.As(err, &exit) {
		return exit.ExitStatus()
	}
	if err != nil {
		return int(CodeFailed)
	}
	return int(CodeDone)
}
