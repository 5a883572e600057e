package run

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func certificate(t *testing.T, ends time.Time) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestInspect(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	ends := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	for path, text := range map[string]string{
		"nix/store/a/kernel": "1", "nix/store/b/kernel": "2", "nix/store/a/initrd": "same",
		"var/lib/acme/one/cert.pem": certificate(t, ends) + certificate(t, ends.Add(time.Hour)),
		"var/lib/acme/two/cert.pem": "no certificate\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
	}
	require.NoError(t, os.Symlink("../a/initrd", filepath.Join(root, "nix/store/b/initrd")))
	require.NoError(t, os.Mkdir(filepath.Join(root, "run"), 0o755))
	require.NoError(t, os.Symlink("../nix/store/b", filepath.Join(root, "run/current-system")))
	require.NoError(t, os.Symlink("../nix/store/a", filepath.Join(root, "run/booted-system")))

	c := Shell{}.Inspect()
	cmd := exec.Command("/bin/sh", "-c", c.Line)
	cmd.Env = append(os.Environ(), "VPS_ROOT="+root)
	cmd.Stdin = strings.NewReader(c.Stdin)
	out, err := cmd.Output()
	require.NoError(t, err)
	in, err := ParseInspection(strings.NewReader(string(out)))

	require.NoError(t, err)
	assert.Equal(t, Inspection{
		Reboot: []string{"kernel"},
		Certificates: []Certificate{
			{File: "/var/lib/acme/one/cert.pem", Ends: ends},
			{File: "/var/lib/acme/two/cert.pem"},
		},
	}, in)
}

func TestParseInspectionRefusesWhatIsCutOrEndless(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "reboot=kernel\n", "certificate=a\n" + strings.Repeat("pem="+strings.Repeat("x", 8000)+"\n", 20) + "end\n"} {
		_, err := ParseInspection(strings.NewReader(text))
		require.Error(t, err)
	}
}

func FuzzParseInspection(f *testing.F) {
	for _, seed := range []string{"", "end\n", "certificate=a\npem=-----BEGIN CERTIFICATE-----\npem=AA==\npem=-----END CERTIFICATE-----\nend\n", "pem=x\nend\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in, err := ParseInspection(strings.NewReader(text))
		if err != nil {
			assert.Empty(t, in)
		}
	})
}
