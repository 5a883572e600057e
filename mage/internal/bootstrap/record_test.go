package bootstrap

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInstallRecordThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "not JSON": "{", "no phase": "{}", "odd phase": `{"phase":"dancing"}`, "no key": `{"phase":"done"}`,
	} {
		path := filepath.Join(t.TempDir(), "web.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		r, err := readInstall(path)
		assert.Error(t, err, name)
		assert.Nil(t, r, name)
	}
}

func FuzzInstallRecord(f *testing.F) {
	f.Add([]byte(`{"phase":"done","hostKey":"ssh-ed25519 AAAA"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := parseInstall(text); err == nil {
			assert.NotEmpty(t, fingerprint(r.HostKey))
			assert.GreaterOrEqual(t, r.phase(), InstallerPreparing)
		}
	})
}
