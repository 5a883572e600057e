package vpstest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/vpstest"
)

// variants are the kinds of servers on which every story must go alike.
func variants(t *testing.T, story func(t *testing.T, options ...vpstest.Option)) {
	for name, options := range map[string][]vpstest.Option{
		"systemd":         nil,
		"without systemd": {vpstest.WithoutSystemd()},
		"macOS":           {vpstest.WithBSD()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, append([]vpstest.Option{vpstest.WithTree(old())}, options...)...)
		})
	}
}

// before remembers what a server must go back to.
type before struct {
	system     string
	tree       map[string]string
	generation int
}

func remember(s *vpstest.Server) before {
	return before{s.CurrentSystem(), s.Files(), s.Generation()}
}

func assertOld(t *testing.T, s *vpstest.Server, b before) {
	t.Helper()
	assert.Equal(t, b.system, s.CurrentSystem())
	assert.Equal(t, b.system, s.BootDefault())
	assert.Equal(t, b.system, s.ProfileSystem())
	assert.Equal(t, b.generation, s.Generation())
	assert.Equal(t, b.tree, s.Files())
	assert.Nil(t, s.Intent())
}

func assertNew(t *testing.T, s *vpstest.Server, b before, tree map[string]string) {
	t.Helper()
	assert.NotEqual(t, b.system, s.CurrentSystem())
	assert.Equal(t, s.CurrentSystem(), s.BootDefault())
	assert.Equal(t, s.CurrentSystem(), s.ProfileSystem())
	assert.Equal(t, b.generation+1, s.Generation())
	assert.Equal(t, tree, s.Files())
	assert.Nil(t, s.Intent())
	assert.Equal(t, s.TreeDigest(), s.Record()["digest"])
}

func TestUpdateIsConfirmedAndCommitted(t *testing.T) {
	t.Parallel()
	variants(t, func(t *testing.T, options ...vpstest.Option) {
		s := vpstest.Start(t, options...)
		was := remember(s)
		wanted := tree(vpstest.System{}, "new.nix", "new\n")
		a := s.NewArchive("run-1", wanted)
		a.Secrets = []string{"/run/secrets/token", "/run/secrets/none"}
		client := dial(t, s)
		id := start(t, client, a)
		f := follow(t, client, id)
		defer f.close()
		f.until("confirming")
		assert.Equal(t, was.tree, s.Files(), "nothing persistent changes before the verdict")
		seen := probe(t, dial(t, s), id, "confirm")
		assert.Equal(t, []string{"current=" + s.CurrentSystem(), "wanted=" + s.CurrentSystem(),
			"missing=/run/secrets/none", "confirmed=1"}, seen)
		end := f.until("end")
		require.Equal(t, "committed", end.Fields["result"], s.RunFile(id, "log"))
		assertNew(t, s, was, wanted)
	})
}

func TestRejectedUpdateIsRolledBack(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	was := remember(s)
	client := dial(t, s)
	id := start(t, client, s.NewArchive("run-1", tree(vpstest.System{
		Units: []vpstest.Unit{{Name: "web.service"}}})))
	f := follow(t, client, id)
	defer f.close()
	switched := f.until("switched")
	assert.Equal(t, "4", switched.Fields["code"])
	f.until("confirming")
	seen := probe(t, dial(t, s), id, "reject web.service fails")
	assert.Contains(t, seen, "unit=system web.service failed")
	end := f.until("end")
	assert.Equal(t, "rolledback", end.Fields["result"], s.RunFile(id, "log"))
	assertOld(t, s, was)
}

func TestUnconfirmedUpdateIsRolledBack(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithTree(old()))
	was := remember(s)
	a := s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))
	a.Request["confirm"] = "1"
	client := dial(t, s)
	f := follow(t, client, start(t, client, a))
	defer f.close()
	end := f.until("end")
	assert.Equal(t, "rolledback", end.Fields["result"], s.RunFile("run-1", "log"))
	assertOld(t, s, was)
}

func TestWatchdogRollsBackWhenTheSupervisorIsKilled(t *testing.T) {
	t.Parallel()
	variants(t, func(t *testing.T, options ...vpstest.Option) {
		s := vpstest.Start(t, options...)
		was := remember(s)
		a := s.NewArchive("run-1", tree(vpstest.System{}, "new.nix", "new\n"))
		a.Request["confirm"] = "1"
		client := dial(t, s)
		f := follow(t, client, start(t, client, a))
		defer f.close()
		f.until("confirming")
		require.True(t, s.KillSupervisor())
		end := f.until("end")
		assert.Equal(t, "unconfirmed", end.Fields["reason"], s.RunFile("run-1", "log"))
		assertOld(t, s, was)
	})
}

func TestWatchdogEndsASwitchThatHangs(t *testing.T) {
	t.Parallel()
	variants(t, func(t *testing.T, options ...vpstest.Option) {
		s := vpstest.Start(t, options...)
		was := remember(s)
		a := s.NewArchive("run-1", tree(vpstest.System{Stall: vpstest.Forever}))
		a.Request["switchtimeout"] = "1"
		client := dial(t, s)
		f := follow(t, client, start(t, client, a))
		defer f.close()
		end := f.until("end")
		assert.Equal(t, "hung", end.Fields["reason"], s.RunFile("run-1", "log"))
		assertOld(t, s, was)
	})
}
