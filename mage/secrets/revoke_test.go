package secrets

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRevoke(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	me, thief := ids.Only(ids.Recipients()[:1]), ids.Only(ids.Recipients()[1:])
	project := newProject(t, ids, "token: x\n")
	writeKey(t, project.KeyFile(), me)
	recipient := thief.Recipients()[0]
	other := project.in("hosts/web/secrets.yaml")
	require.NoError(t, os.MkdirAll(filepath.Dir(other.SecretsFile()), 0o755))
	writeText(t, project.RulesFile(), string(readAll(t, project.RulesFile()))+"  - path_regex: ^hosts/\n    age:\n      - "+me.Recipients()[0]+"\n      - "+recipient+" # host web\n")
	writeText(t, other.SecretsFile(), string(encryptPlain(t, other, "web-token: y\n")))
	confirm(t, project, recipient)
	runGit(t, project.Dir, "init", "-q")
	writeText(t, project.IgnoreFile(), "/secrets/age-key*.txt\n/.vps/\n")
	runGit(t, project.Dir, "add", ".")
	runGit(t, project.Dir, "commit", "-q", "-m", "all")

	who, err := RecipientNamed(project.Dir, "web")
	require.NoError(t, err)
	assert.Equal(t, recipient, who)
	revoked, err := Revoke(t.Context(), project.Dir, me, who)
	require.NoError(t, err)
	assert.Equal(t, []string{"secrets/secrets.yaml: token", "hosts/web/secrets.yaml: web-token"}, revoked.Names)
	assert.Len(t, revoked.Commits, 1)
	require.NoError(t, revoked.Unknown)
	for _, p := range []Project{project, other} {
		_, err := VerifyFile(p.Name(), readAll(t, p.SecretsFile()), thief)
		require.ErrorIs(t, err, ErrWrongKey)
		_, err = p.Verify(me)
		require.NoError(t, err)
	}
	assert.NotContains(t, string(readAll(t, project.RulesFile())), recipient)
	record, err := trust.Load(t.Context(), project.Dir)
	require.NoError(t, err)
	assert.NotContains(t, record.Recipients, recipient)
	_, err = Revoke(t.Context(), project.Dir, me, recipient)
	require.ErrorIs(t, err, ErrUnknownName)
}

func TestRevokeLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 2)
	project := newProject(t, ids, "token: x\n")
	writeKey(t, project.KeyFile(), ids.Only(ids.Recipients()[:1]))
	stranger := newIdentities(t, 1).Recipients()[0]
	letIn(t, project, stranger)
	before := snapshot(t, project.Dir)
	_, err := Revoke(t.Context(), project.Dir, mustLoad(t, project), ids.Recipients()[1])
	require.ErrorIs(t, err, ErrUnconfirmed)
	assert.ErrorContains(t, err, stranger)
	assert.Equal(t, before, snapshot(t, project.Dir))
}

func TestRevokeIsFinishedByTheNextCall(t *testing.T) {
	t.Parallel()
	for stops := 0; ; stops++ {
		require.Less(t, stops, 50)
		ids := newIdentities(t, 2)
		project := newProject(t, ids, "token: x\n")
		me := ids.Only(ids.Recipients()[:1])
		_, err := Revoke(stopAfter(t, stops), project.Dir, me, ids.Recipients()[1])
		if err == nil {
			require.Greater(t, stops, 1)
			return
		}
		if _, err = Revoke(t.Context(), project.Dir, me, ids.Recipients()[1]); err != nil {
			require.ErrorIs(t, err, ErrUnknownName, "it was done before the interrupt")
		}
		report, err := project.Verify(me)
		require.NoError(t, err)
		require.Equal(t, me.Recipients(), report.Recipients)
	}
}

func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "token: x\n")
	_, err := Revoke(t.Context(), project.Dir, ids, ids.Recipients()[0])
	require.ErrorContains(t, err, "the key of this machine")
	assert.Contains(t, next.Of(err).String(), "secrets:rotate")
	_, err = RecipientNamed(project.Dir, "nobody")
	require.ErrorIs(t, err, ErrUnknownName)

	both := newIdentities(t, 2)
	outside := newProject(t, both, "token: x\n")
	revoked, err := Revoke(t.Context(), outside.Dir, both.Only(both.Recipients()[:1]), both.Recipients()[1])
	require.NoError(t, err)
	require.ErrorIs(t, revoked.Unknown, git.ErrNoRepository, "what history holds is not known")
}
