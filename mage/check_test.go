package mage

import (
	"io"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/terminal"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckAnswersOnStdoutAndTellsEachRemedy(t *testing.T) {
	t.Parallel()
	found := []deploy.Finding{
		{Name: "go", Status: secrets.Pass, Detail: "go1.26"},
		{Name: "flake.lock", Status: secrets.Fail, Detail: "there is none", Next: next.Words("mage lock")},
		{Name: "git", Status: secrets.Fail, Detail: "a change", Next: next.Words("git commit")},
	}
	var out strings.Builder
	s := &session{UI: term.New(strings.NewReader(""), &out, io.Discard)}

	err := terminal.Explain(answerCheck(s, found, false))

	require.Error(t, err)
	assert.Equal(t, int(deploy.CodeFindings), deploy.ExitStatus(err))
	for _, text := range []string{"flake.lock: there is none", "next: mage lock", "git: a change", "next: git commit"} {
		assert.Contains(t, err.Error(), text)
	}
	assert.Equal(t, 4, strings.Count(out.String(), "\n"), "%s", out.String())

	out.Reset()
	require.NoError(t, answerCheck(s, found[:1], true))
	assert.JSONEq(t, `[{"name": "go", "status": "pass", "detail": "go1.26"}]`, out.String())
}

func TestMovesAreShownWithWhatHasNoCommit(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := &session{UI: term.New(strings.NewReader(""), &out, io.Discard)}
	s.showMoves([]deploy.Move{{Input: "nixpkgs"}})
	assert.Regexp(t, `nixpkgs +- +- +- +-`, out.String())
}
