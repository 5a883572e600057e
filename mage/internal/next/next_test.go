package next_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var aliased = next.Caller{Program: "go tool mage", Prefix: "vps:"}

func TestTargetsAreCalledAsTheCallerCallsThem(t *testing.T) {
	t.Parallel()
	update := next.Target("update", "web-1", "-force")
	for _, tc := range []struct {
		step      next.Step
		own, from string
	}{
		{update, "mage update web-1 -force", "go tool mage vps:update web-1 -force"},
		{next.Say("correct it, then run: %s", update), "correct it, then run: mage update web-1 -force",
			"correct it, then run: go tool mage vps:update web-1 -force"},
		{next.Say("%s shows %d, %s undoes", next.Target("status"), 3, next.Target("rollback", "web-1")),
			"`mage status` shows 3, `mage rollback web-1` undoes",
			"`go tool mage vps:status` shows 3, `go tool mage vps:rollback web-1` undoes"},
		{next.Shell("git", "pull"), "git pull", "git pull"},
		{next.Say("first %s", next.Say("look: %s", update)), "first look: mage update web-1 -force",
			"first look: go tool mage vps:update web-1 -force"},
		{next.Words("wait"), "wait", "wait"},
		{next.Say("100%%"), "100%", "100%"},
		{next.Step{}, "", ""},
	} {
		assert.Equal(t, tc.own, tc.step.For(next.Mage))
		assert.Equal(t, tc.from, tc.step.For(aliased))
		assert.Equal(t, tc.own, tc.step.String())
		assert.Equal(t, tc.own == "", tc.step.IsZero())
	}
}

// What a server says goes into sentences, too.
func TestSayIsNotFooledByText(t *testing.T) {
	t.Parallel()
	s := next.Say("look at %s: %s", "\x001\x00 %s", next.Target("status"))
	require.NotPanics(t, func() { _ = s.String() })
	assert.Contains(t, s.String(), "mage status")
	assert.NotContains(t, next.Say("%s", "\x007\x00").String(), "\x00")
}

// A name that a shell would take apart reaches the program as it is.
func TestWordsAreQuotedForAShell(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"web-1", "a b", "it's", "$HOME", "~root", "=ls", "*", "-file=~/key", "x;y", "", "a\nb", "{a,b}", "db.pass", `db\.pass`, "`id`", "#no"} {
		out, err := exec.Command("sh", "-c", "printf %s "+next.Quote(word)).Output()
		require.NoError(t, err)
		assert.Equal(t, word, string(out))
	}
	assert.Equal(t, "ssh root@web.example", next.Shell("ssh", "root@web.example").String())
}

func TestErrorsCarryTheirStep(t *testing.T) {
	t.Parallel()
	cause := errors.New("no space")
	err := fmt.Errorf("upload: %w", next.With(cause, next.Target("status", "web")))
	assert.Equal(t, "upload: no space", err.Error())
	assert.ErrorIs(t, err, cause)
	assert.Equal(t, "mage status web", next.Of(err).String())
	assert.True(t, next.Of(cause).IsZero())
	assert.Equal(t, "b", next.Or(next.Step{}, next.Words("b"), next.Words("c")).String())
	assert.Equal(t, []next.Command{{Target: "status", Args: []string{"web"}}}, next.Of(err).Commands())
}

func TestJSONShowsTheSentence(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(struct {
		Next  next.Step `json:"next"`
		Empty next.Step `json:"empty,omitzero"`
	}{Next: next.Target("lock")})
	require.NoError(t, err)
	assert.JSONEq(t, `{"next":"mage lock"}`, string(text))
}
