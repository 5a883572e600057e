package faults

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRowsOfOneCaseAreAddedUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	t.Setenv(ReportEnv, path)
	Report(t, Row{Area: "cut", Case: "building", Injected: 2, Survived: 2})
	Report(t, Row{Area: "kill", Case: "client", Injected: 1, Survived: 0, Detail: "exit 5"})
	Report(t, Row{Area: "cut", Case: "switching", Injected: 1, Survived: 1})
	Report(t, Row{Area: "cut", Case: "building", Injected: 3, Survived: 2})

	rows, err := Rows(path)

	require.NoError(t, err)
	assert.Equal(t, []Row{
		{Area: "cut", Case: "building", Injected: 5, Survived: 4},
		{Area: "cut", Case: "switching", Injected: 1, Survived: 1},
		{Area: "kill", Case: "client", Injected: 1, Survived: 0, Detail: "exit 5"},
	}, rows)
	var table strings.Builder
	require.NoError(t, Print(&table, rows))
	assert.Equal(t, 1, strings.Count(table.String(), "cut "), "one heading each")
}

func TestPointsFollowTheLevel(t *testing.T) {
	for level, want := range map[string]int{"": 1, "ci": 2, "full": 3} {
		t.Setenv(LevelEnv, level)
		assert.Equal(t, want, Points(t, 1, 2, 3))
	}
}
