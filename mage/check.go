package mage

import (
	"context"
	"errors"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/terminal"
)

// Check looks for everything that could go wrong, here and on hosts, before anything is changed.
func Check(ctx context.Context,
	host *string, // look at these hosts, with commas between (all of vps.yaml)
	offline *bool, // start no container
	json *bool, // print JSON
) error {
	return guarded(ctx, func(ctx context.Context) error {
		ui := term.Std()
		found := deploy.Check(ctx, ".", terminal.On(ui), deploy.CheckOptions{Host: or(host, "all"), Offline: or(offline, false)})
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return answerCheck(&session{UI: ui}, found, or(json, false))
	})
}

func answerCheck(s *session, found []deploy.Finding, asJSON bool) error {
	if err := s.showFindings(found, asJSON); err != nil {
		return err
	}
	return problems(found)
}

// problems is an error with each finding that failed, and its remedy.
func problems(found []deploy.Finding) error {
	var errs []error
	for _, f := range found {
		if f.Status == secrets.Fail {
			errs = append(errs, &deploy.Failure{Code: deploy.CodeFindings, Err: errors.New(f.Name + ": " + f.Detail), Next: f.Next})
		}
	}
	return errors.Join(errs...)
}
