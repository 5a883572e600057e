package terminal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/terminal"
	"github.com/stretchr/testify/assert"
)

func TestExplainTellsThreeParts(t *testing.T) {
	t.Parallel()
	err := terminal.Explain(&deploy.Failure{Host: "web", Code: deploy.CodeBusy, Err: errors.New("held"),
		Now: "that run goes on", Next: next.Words("wait")})
	assert.Equal(t, "web: held\n  state: that run goes on\n  next: wait", err.Error())
	assert.Equal(t, int(deploy.CodeBusy), deploy.ExitStatus(err))
	assert.NoError(t, terminal.Explain(nil))
}

// CLICOLOR_FORCE made mage print "Error: error:", because the first word of the
// text was painted and so not recognised.
func TestExplainIsNotPainted(t *testing.T) {
	t.Setenv("CLICOLOR_FORCE", "1")
	err := terminal.Explain(&deploy.Failure{Err: errors.New("held"), Now: "as it was"})
	assert.Equal(t, "held\n  state: as it was", err.Error())
}

func TestExplainTellsOfEachHost(t *testing.T) {
	t.Parallel()
	err := terminal.Explain(&deploy.FleetError{All: 3, Code: deploy.CodeRolledBack, Errs: []error{
		&deploy.Failure{Host: "web", Code: deploy.CodeFailed, Err: errors.New("no space"), Next: next.Words("free some")},
		&deploy.Failure{Host: "db", Code: deploy.CodeRolledBack, Err: errors.New("no login"), Now: "rolled back", Next: next.Words("look")},
	}})
	assert.Equal(t, int(deploy.CodeRolledBack), deploy.ExitStatus(err))
	for _, part := range []string{"web: no space", "next: free some", "db: no login", "state: rolled back"} {
		assert.Contains(t, err.Error(), part)
	}
	assert.True(t, strings.HasSuffix(err.Error(), "2 of 3 hosts failed"))
}

func TestTerminalShowsEvents(t *testing.T) {
	t.Parallel()
	var out, story bytes.Buffer
	o := terminal.New(strings.NewReader(""), &out, &story)
	for _, e := range []deploy.Event{
		{Kind: deploy.EventWarning, Text: "old lock"},
		{Kind: deploy.EventBegin, Hosts: []string{"web", "db"}},
		{Kind: deploy.EventPhase, Host: "web", Text: "building"},
		{Kind: deploy.EventOutput, Host: "db", Data: []byte("copying\n")},
		{Kind: deploy.EventDone, Host: "web", Text: "updated"},
		{Kind: deploy.EventDone, Host: "db", Err: errors.New("no space")},
		{Kind: deploy.EventEnd},
	} {
		o.Observe(e)
	}
	assert.Empty(t, out.String())
	for _, line := range []string{"warning: old lock\n", "web: building …\n", "db:   copying\n", "web: updated (0:00)\n", "db: failed: no space (0:00)\n"} {
		assert.Contains(t, story.String(), line)
	}
	_, err := o.Ask(t.Context(), deploy.Question{Text: "Go on?"})
	assert.ErrorIs(t, err, deploy.ErrNobody)
	assert.False(t, o.Interactive())
}
