package trust

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, err := Load(t.Context(), dir)
	require.NoError(t, err)
	assert.Equal(t, Record{}, empty)
	require.NoError(t, Change(t.Context(), dir, func(r *Record) { r.Recipients = append(r.Recipients, "b", "a", "b") }))
	r, err := Load(t.Context(), dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, r.Recipients)
	info, err := os.Stat(path(dir))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestChangesOfManyAreAllKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			assert.NoError(t, Change(context.Background(), dir, func(r *Record) { r.LoginKeys = append(r.LoginKeys, strconv.Itoa(i)) }))
		})
	}
	all.Wait()
	r, err := Load(t.Context(), dir)
	require.NoError(t, err)
	assert.Len(t, r.LoginKeys, 20)
}

// A record that somebody else wrote would confirm whatever its author likes.
func TestAForeignRecordIsRefused(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(t *testing.T, dir string){
		"a file of git's": func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, ".vps"), 0o755))
			require.NoError(t, os.WriteFile(path(dir), []byte(`{}`), 0o644))
		},
		"a link": func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, ".vps"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "other"), []byte(`{}`), 0o600))
			require.NoError(t, os.Symlink("../other", path(dir)))
		},
		"a folder that is a link": func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "other"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "other", "trust.json"), []byte(`{}`), 0o600))
			require.NoError(t, os.Symlink("other", filepath.Join(dir, ".vps")))
		},
		"committed, whatever its mode": func(t *testing.T, dir string) {
			require.NoError(t, Change(t.Context(), dir, func(r *Record) { r.Recipients = []string{"stranger"} }))
			for _, args := range [][]string{{"init", "-q"}, {"add", "-f", ".vps/trust.json"}} {
				cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
				cmd.Env = git.Environment(os.Environ())
				require.NoError(t, cmd.Run())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plant(t, dir)
			_, err := Load(t.Context(), dir)
			require.ErrorIs(t, err, errForeign)
			assert.NotEmpty(t, next.Of(err).String())
			require.ErrorIs(t, Change(t.Context(), dir, func(*Record) {}), errForeign, "nor is it built upon")
		})
	}
}

func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", `{"recipients":5}`} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, ".vps"), 0o700))
		require.NoError(t, os.WriteFile(path(dir), []byte(text), 0o600))
		_, err := Load(t.Context(), dir)
		require.Error(t, err, "%q is not an empty record", text)
		assert.NotEmpty(t, next.Of(err).String())
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	r := Record{Hosts: map[string]Host{"web": {Address: "a:1", HostKey: "SHA256:x", When: time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local)}}}
	assert.Empty(t, r.Changed("web", Host{Address: "a:1", HostKey: "SHA256:x"}))
	assert.Equal(t, "CHANGED: the address was a:1 on 2026-01-02", r.Changed("web", Host{Address: "b:1", HostKey: "SHA256:x"}))
	assert.Equal(t, "CHANGED: the address was a:1, the host key was SHA256:x on 2026-01-02", r.Changed("web", Host{Address: "b:1", HostKey: "SHA256:y"}))
	assert.Equal(t, "not confirmed before", r.Changed("other", Host{}))
}

type someone struct {
	absent bool
	answer string
	err    error
	asked  int
}

func (s *someone) Interactive() bool  { return !s.absent }
func (s *someone) Say(string, ...any) {}
func (s *someone) Ask(context.Context, string) (string, error) {
	s.asked++
	return s.answer, s.err
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	q := Question{Doing: "x", What: "y", Items: []Item{{"one", "One"}, {"two", "Two"}}, Ask: "?", No: next.Words("Look."), Rerun: next.Command{Target: "secrets:init"}}
	for name, c := range map[string]struct {
		person   someone
		accepted []string
		ok       bool
		step     string
	}{
		"yes":                           {someone{answer: "yes"}, nil, true, ""},
		"enter":                         {someone{answer: ""}, nil, false, "Look."},
		"y":                             {someone{answer: "y"}, nil, false, "Look."},
		"the end of the input":          {someone{err: errors.New("EOF")}, nil, false, "Look."},
		"nobody there":                  {someone{absent: true, answer: "yes"}, nil, false, "Look. If all is right, confirm it: mage secrets:init -yes=one,two"},
		"nobody there, one by the flag": {someone{absent: true}, []string{"one"}, false, "Look. If all is right, confirm it: mage secrets:init -yes=two"},
		"both by the flag":              {someone{absent: true}, []string{"two", "one"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			person := c.person
			err := Confirm(t.Context(), &person, q, c.accepted)
			if c.ok {
				require.NoError(t, err)
				return
			}
			var declined *DeclinedError
			require.ErrorAs(t, err, &declined)
			assert.Equal(t, c.step, next.Of(err).For(next.Mage))
			assert.Equal(t, !person.absent, declined.Asked)
		})
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"hosts":{"a":{"address":"x"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, ".vps"), 0o700))
		require.NoError(t, os.WriteFile(path(dir), data, 0o600))
		r, err := Load(t.Context(), dir)
		if err == nil {
			_ = r.Changed("a", Host{})
		}
	})
}
