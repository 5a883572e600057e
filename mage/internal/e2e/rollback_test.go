package e2e_test

import (
	"os"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (l *laptop) rollback(to int) (deploy.Result, error) {
	l.t.Helper()
	return l.Rollback(l.t.Context(), "web", deploy.RollbackOptions{To: to, UpdateOptions: brisk()})
}

// Tree and generation go back together, and stay so over a restart.
func TestRollback(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	_, err := l.rollback(0)
	l.assertCode(deploy.CodeFailed, err)
	var standings []standing
	for _, note := range []string{"two", "three", "four"} {
		l.files.Set("note", note)
		l.files.Write("nix/"+note, note)
		l.mustUpdate()
		standings = append(standings, l.assertDeployed(s))
	}

	_, err = l.rollback(1)
	l.assertCode(deploy.CodeFailed, err)
	assert.ErrorContains(t, err, "not kept")
	_, err = l.rollback(99)
	l.assertCode(deploy.CodeFailed, err)
	assert.Equal(t, standings[2], stand(s), "refused")

	r, err := l.rollback(2)
	require.NoError(t, err, "%s", l.story)
	assert.Equal(t, []int{4, 2}, []int{r.Before, r.After})
	assert.Equal(t, standings[0], stand(s))
	assertTidy(t, s)
	l.rebooted(s)

	list, err := l.Generations(t.Context(), "web")
	require.NoError(t, err)
	require.Len(t, list, 4)
	assert.True(t, list[1].Current && list[1].Default && list[1].Tree)
	assert.False(t, list[3].Current)
	status, err := l.Status(t.Context(), "web", 1)
	require.NoError(t, err)
	assert.Equal(t, "as committed", status[0].State)

	l.mustUpdate()
	assert.Equal(t, standings[2].Tree, l.assertDeployed(s).Tree, "and forward again")
	_, err = l.rollback(0)
	require.NoError(t, err, "%s", l.story)
	assert.NotEqual(t, standings[2].Current, stand(s).Current)
}

// A run that waits to be confirmed is undone by a rollback, from elsewhere too.
func TestRollbackCancelsARunThatWaits(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	l := newLaptop(t, s)
	l.mustUpdate()
	before := stand(s)
	l.files.Set("note", "unwanted")
	o := brisk()
	o.Settle = 30 * time.Second
	ended := l.begin(t.Context(), o)
	awaitPhase(s, "confirming")
	other := openLaptop(t, l.files)
	r, err := other.rollback(0)
	require.NoError(t, err, "%s", other.story)
	assert.Equal(t, deploy.OutcomeCancelled, r.Outcome)
	l.assertCode(deploy.CodeRolledBack, l.wait(ended).err)
	assert.Equal(t, before, stand(s))
	assertTidy(t, s)
}

// Somebody who is not root but may use sudo can do all of it.
func TestUserWithSudo(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	p := s.Project()
	text, err := os.ReadFile(p.Dir + "/vps.yaml")
	require.NoError(t, err)
	p.Write("vps.yaml", replaceOne(t, string(text), "user: root", "user: admin"))
	l := openLaptop(t, p)
	l.files.Set("note", "by sudo")
	l.mustUpdate()
	first := l.assertDeployed(s)
	assert.Empty(t, s.Exec("find /home/admin -name '.vps-*'"), "the upload is gone")

	l.files.Set("note", "by sudo again")
	l.mustUpdate()
	r, err := l.rollback(0)
	require.NoError(t, err, "%s", l.story)
	assert.Equal(t, deploy.OutcomeBack, r.Outcome)
	assert.Equal(t, first, stand(s))

	s.Exec("rm /etc/sudoers.d/admin")
	_, err = l.update(brisk())
	l.assertCode(deploy.CodeFailed, err)
}
