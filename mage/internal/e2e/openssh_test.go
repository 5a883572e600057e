package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/pkg/sftp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenSSHGivesItsLoginsAnEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "here"), nil, 0o600))
	server := e2e.StartOpenSSH(t, map[string]string{"VPS_ROOT": "/a b", "PATH": "/bin:/usr/bin"}, dir)

	client, err := dial("127.0.0.1", server.Port, server.KeyFile, server.HostKey)
	require.NoError(t, err)
	defer client.Close()
	out, err := say(client, `echo "$VPS_ROOT $PATH"; ls`)
	require.NoError(t, err, out)
	assert.Equal(t, "/a b /bin:/usr/bin\nhere\n", out)

	files, err := sftp.NewClient(client)
	require.NoError(t, err)
	defer files.Close()
	_, err = files.Stat("here")
	assert.NoError(t, err)
}
