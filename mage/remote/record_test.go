package remote

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

func TestReplaceHostLines(t *testing.T) {
	t.Parallel()
	hashed := xknownhosts.HashHostname("other") + " ssh-ed25519 AAAAold"
	ours := xknownhosts.HashHostname("192.0.2.1") + " ssh-ed25519 AAAAold\n" + xknownhosts.HashHostname("[192.0.2.1]:2222") + " ssh-rsa AAAAold\n"
	for name, tc := range map[string]struct{ before, after string }{
		"no file":         {"", "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"both ports":      {"192.0.2.1 ssh-rsa AAAAold\n[192.0.2.1]:2222 ssh-ed25519 AAAAold\n", "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"others stay":     {"# mine\nother ssh-rsa AAAAx\n192.0.2.1 ssh-rsa AAAAold\n", "# mine\nother ssh-rsa AAAAx\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"one of several":  {"other,192.0.2.1 ssh-rsa AAAAx\n", "other ssh-rsa AAAAx\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"marked and odd":  {"@revoked 192.0.2.1 ssh-rsa AAAAold\nnonsense\n", "@revoked 192.0.2.1 ssh-rsa AAAAold\nnonsense\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"other hash":      {hashed + "\n", hashed + "\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"our hashes":      {ours, "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
		"no last newline": {"other ssh-rsa AAAAx", "other ssh-rsa AAAAx\n[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), ".ssh", "known_hosts")
			if tc.before != "" {
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
				require.NoError(t, os.WriteFile(file, []byte(tc.before), 0o644))
			}
			names := []string{"[192.0.2.1]:2222", "192.0.2.1"}
			for range 2 { // the second time changes nothing
				require.NoError(t, replaceHostLines(file, names, "[192.0.2.1]:2222 ssh-ed25519 AAAAnew\n"))
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				assert.Equal(t, tc.after, string(text))
			}
			if tc.before == "" {
				assert.NoFileExists(t, file+".old")
				return
			}
			info, err := os.Stat(file)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o644), info.Mode().Perm())
			old, err := os.ReadFile(file + ".old")
			require.NoError(t, err)
			assert.Equal(t, tc.before, string(old))
		})
	}
}

func FuzzKnownHostsWithoutNames(f *testing.F) {
	f.Add([]byte("web ssh-rsa AAAA\n# a\n@revoked web ssh-rsa AAAA\nother,web ssh-rsa A\n"))
	f.Add([]byte("|1|a|b ssh-rsa AAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once := withoutNames(text, []string{"web"})
		assert.Equal(t, once, withoutNames(once, []string{"web"}))
		assert.LessOrEqual(t, len(once), len(text)+1)
	})
}
