package deploy

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
)

// health is how the server does.
func (c *hostCheck) health(f run.Facts) {
	command := next.Target("update", c.h.Name)
	switch {
	case f.Intent != "":
		c.fail("last run", command, "the commit of run %s was interrupted; the next run finishes or undoes it", f.Intent)
	case len(f.Open) > 0 && f.Holder == nil:
		c.fail("last run", command, "run %s was neither confirmed nor undone", strings.Join(f.Open, ", "))
	case f.LastRun == "":
		c.pass("last run", "there was none yet")
	default:
		c.pass("last run", "%s ended as %q", f.LastRun, f.Last.Result())
	}
	if len(f.Units) == 0 {
		c.pass("units", "none failed (%s)", f.State)
		return
	}
	var names []string
	for _, u := range f.Units {
		names = append(names, u.String())
	}
	c.fail("units", next.Say("ssh there and run: %s", next.Shell("systemctl", "status", f.Units[0].Name)), "%s", strings.Join(names, ", "))
}

// inspect looks for a pending reboot, and for certificates that run out.
func (c *hostCheck) inspect(ctx context.Context) {
	out, err := c.link.Ask(ctx, c.link.Shell.Inspect())
	if err != nil {
		c.err("reboot", c.link.askFailure("look at the running kernel", err), next.Step{})
		return
	}
	in, err := run.ParseInspection(bytes.NewReader(out))
	if err != nil {
		c.err("reboot", err, next.Step{})
		return
	}
	if len(in.Reboot) > 0 {
		c.fail("reboot", next.Say("ssh there and run: %s", next.Shell("systemctl", "reboot")), "pending: %s changed since it was booted", strings.Join(in.Reboot, ", "))
	} else {
		c.pass("reboot", "none is pending")
	}
	c.certificates(in.Certificates, time.Now())
}

func (c *hostCheck) certificates(list []run.Certificate, now time.Time) {
	soonest := time.Time{}
	for _, cert := range list {
		switch {
		case cert.Ends.IsZero():
			c.fail("certificate", next.Words("ssh there and look at it"), "%s cannot be read", cert.File)
		case cert.Ends.Before(now.Add(certMargin)):
			c.fail("certificate", next.Say("ssh there and run: %s", next.Shell("journalctl", "-u", "acme-*")), "%s ends on %s", cert.File, cert.Ends.Format("2006-01-02"))
		case soonest.IsZero() || cert.Ends.Before(soonest):
			soonest = cert.Ends
		}
	}
	if !soonest.IsZero() {
		c.pass("certificates", "the first of %d ends on %s", len(list), soonest.Format("2006-01-02"))
	}
}
