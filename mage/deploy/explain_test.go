package deploy

import (
	"errors"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
)

func TestExplainTellsThreeParts(t *testing.T) {
	t.Parallel()
	err := Explain(&Failure{Host: "web", Code: CodeBusy, Err: errors.New("held"), Now: "that run goes on", Next: next.Words("wait")})
	assert.Equal(t, "web: held\n  state: that run goes on\n  next: wait", err.Error())
	assert.Equal(t, int(CodeBusy), ExitStatus(err))
	assert.NoError(t, Explain(nil))
}

func TestExplainTellsOfEachHost(t *testing.T) {
	t.Parallel()
	err := Explain(summary([]Result{
		{Err: &Failure{Host: "web", Code: CodeFailed, Err: errors.New("no space"), Now: asItWas, Next: next.Words("free some")}},
		{Err: &Failure{Host: "db", Code: CodeRolledBack, Err: errors.New("no login"), Now: "rolled back", Next: next.Words("look")}},
		{},
	}))
	assert.Equal(t, int(CodeRolledBack), ExitStatus(err))
	for _, part := range []string{"web: no space", "next: free some", "db: no login", "state: rolled back"} {
		assert.Contains(t, err.Error(), part)
	}
	assert.True(t, strings.HasSuffix(err.Error(), "2 of 3 hosts failed"))
}
