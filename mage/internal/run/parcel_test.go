package run

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The newest run is the last by its name, to the server and to whoever looks.
func TestRunsOfOneSecondAreSortedByTime(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for range 100 {
		assert.Less(t, NewID(first), NewID(first.Add(time.Millisecond)))
	}
	assert.Regexp(t, `^20260102T030405000Z-[0-9a-f]{8}$`, NewID(first))
}
