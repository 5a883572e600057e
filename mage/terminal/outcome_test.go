package terminal_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/terminal"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// declaredOutcomes are the outcomes that package deploy knows, as its source has them.
func declaredOutcomes(t *testing.T) []deploy.Outcome {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../deploy/outcome.go", nil, 0)
	require.NoError(t, err)
	var all []deploy.Outcome
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Outcome") {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		all = append(all, deploy.Outcome(word))
		return true
	})
	require.Len(t, all, 14)
	return all
}

func TestEveryOutcomeHasAText(t *testing.T) {
	t.Parallel()
	for _, o := range declaredOutcomes(t) {
		assert.True(t, terminal.Knows(o), "%s", o)
	}
	assert.Empty(t, terminal.Outcome(""))
}

// An update with -action=boot said "updated", as if the new system ran.
func TestUpdateForTheNextBootNamesTheReboot(t *testing.T) {
	t.Parallel()
	var story bytes.Buffer
	o := terminal.New(strings.NewReader(""), &bytes.Buffer{}, &story)
	o.Observe(deploy.Event{Kind: deploy.EventBegin, Hosts: []string{"web"}})
	o.Observe(deploy.Event{Kind: deploy.EventDone, Host: "web", Outcome: deploy.OutcomeNextBoot})
	o.Observe(deploy.Event{Kind: deploy.EventEnd})
	assert.Contains(t, story.String(), "web: updated, active after the next reboot (0:00)")
}

// Programs compare the words of the JSON form: a text for people may change, they may not.
func TestOutcomesKeepTheirWordsInJSON(t *testing.T) {
	t.Parallel()
	for o, word := range map[deploy.Outcome]string{
		deploy.OutcomeNothing: "nothing to do", deploy.OutcomeUpdated: "updated",
		deploy.OutcomeTested: "active until reboot", deploy.OutcomeRolledBack: "rolled back",
	} {
		text, err := json.Marshal(deploy.Result{Host: "web", Outcome: o, Before: 1, After: 2})
		require.NoError(t, err)
		assert.JSONEq(t, `{"host":"web","result":"`+word+`","before":1,"after":2}`, string(text))
	}
}
