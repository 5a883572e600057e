package deploy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoginIsThatOfTheWorkflows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.server("web")

	client, err := f.Login(t.Context(), "web")
	require.NoError(t, err)
	defer client.Close()
	out, err := client.Output(t.Context(), "uname -n", nil, 100)

	require.NoError(t, err)
	assert.Equal(t, "vps\n", string(out))
}

func TestLoginToADeadServerSaysThatItIsUnreachable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.server("web").Close())

	_, err := f.Login(t.Context(), "web")

	assert.Equal(t, int(CodeUnreachable), ExitStatus(err))
}
