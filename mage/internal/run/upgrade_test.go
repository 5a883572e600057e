package run

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is not known of the last upgrade must not pass for a success.
func TestUpgradeOutcome(t *testing.T) {
	t.Parallel()
	const ended = "InactiveEnterTimestamp=Sat 2026-11-28 03:41:07 UTC"
	for said, want := range map[string]string{
		"": UpgradeUnknown,
		"LoadState=not-found ActiveState=inactive Result=success InactiveEnterTimestamp=": UpgradeUnknown,
		"LoadState=loaded ActiveState=inactive Result=success InactiveEnterTimestamp=":    UpgradeUnknown,
		"LoadState=loaded ActiveState=inactive Result=success InactiveEnterTimestamp=n/a": UpgradeUnknown,
		"LoadState=loaded ActiveState=inactive " + ended:                                  UpgradeUnknown,
		"LoadState=loaded ActiveState=activating Result=success " + ended:                 UpgradeRunning,
		"LoadState=loaded ActiveState=inactive Result=success " + ended:                   UpgradeSucceeded,
		"LoadState=loaded ActiveState=inactive Result=exec-condition " + ended:            UpgradeSkipped,
		"LoadState=loaded ActiveState=failed Result=timeout " + ended:                     UpgradeFailed,
		"LoadState=loaded ActiveState=failed Result=exit-code Later=1 " + ended:           UpgradeFailed,
	} {
		var out strings.Builder
		out.WriteString("facts=1\n")
		for _, word := range strings.SplitAfter(strings.Replace(said, " "+ended, "", 1), " ") {
			out.WriteString("upgrade=" + strings.TrimSpace(word) + "\n")
		}
		if strings.Contains(said, ended) {
			out.WriteString("upgrade=" + ended + "\n")
		}
		facts, err := ParseFacts(strings.NewReader(out.String() + "end\n"))
		require.NoError(t, err, said)
		assert.Equal(t, want, facts.Upgrade.Outcome(), said)
		if strings.Contains(said, ended) {
			assert.Equal(t, time.Date(2026, 11, 28, 3, 41, 7, 0, time.UTC), facts.Upgrade.Ended.UTC(), said)
		}
	}
}

func TestUpgradeOfAHostileServer(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"Result=\x1b[2J", "ActiveState=in active", "Result=" + strings.Repeat("x", 100)} {
		_, err := ParseFacts(strings.NewReader("facts=1\nupgrade=" + line + "\nend\n"))
		assert.ErrorContains(t, err, "not a word of systemd's", line)
	}
}
