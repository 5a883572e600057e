package secrets

import (
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3/decrypt"
	"github.com/stretchr/testify/require"
)

// BenchmarkReadOneValue reads one value of a file of about a kilobyte, as the
// target does, and does the same with sops' own decrypt package. They take
// turns, and the fastest of each counts, so that other work on the machine does
// not. "times-sops" must not be more than 1.2.
func BenchmarkReadOneValue(b *testing.B) {
	ids := newIdentities(b, 1)
	project := newProject(b, ids, "gateway-token: "+strings.Repeat("0123456789abcdef", 4)+"\n")
	b.Setenv("SOPS_AGE_KEY_FILE", project.KeyFile())
	b.Setenv("HOME", b.TempDir())
	ours := func() {
		ids, err := LoadIdentities(b.Context(), project.Dir, nil)
		require.NoError(b, err)
		_, err = Get(project.Dir, ids, "gateway-token")
		require.NoError(b, err)
	}
	theirs := func() {
		_, err := decrypt.File(project.SecretsFile(), "yaml")
		require.NoError(b, err)
	}
	var fastest [2]time.Duration
	for b.Loop() {
		for i, read := range []func(){ours, theirs} {
			start := time.Now()
			read()
			if took := time.Since(start); fastest[i] == 0 || took < fastest[i] {
				fastest[i] = took
			}
		}
	}
	b.ReportMetric(float64(fastest[0].Microseconds()), "µs-ours")
	b.ReportMetric(float64(fastest[1].Microseconds()), "µs-sops")
	b.ReportMetric(float64(fastest[0])/float64(fastest[1]), "times-sops")
}
