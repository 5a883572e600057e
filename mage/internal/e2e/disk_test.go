//go:build linux

package e2e_test

import (
	"testing"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
)

// Writes a tree and renames it into place, with and without what must come in
// between. The control of every power-cut test: a cut that empties no file here
// would prove nothing elsewhere.
func TestPowerCutEmptiesFilesThatWereNotSynced(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.OnDisk())
	s.Exec(`mkdir /etc/careless.new && for i in 1 2 3; do echo content >/etc/careless.new/$i; done
		mv /etc/careless.new /etc/careless`)
	s.CutPower(true)
	s.Boot()
	assert.Equal(t, "/etc/careless/1 0\n/etc/careless/2 0\n/etc/careless/3 0",
		s.Exec("find /etc/careless -type f -printf '%p %s\\n' | sort"))

	s.Exec(`mkdir /etc/careful.new && for i in 1 2 3; do echo content >/etc/careful.new/$i; done
		sync && mv /etc/careful.new /etc/careful && sync`)
	s.CutPower(true)
	s.Boot()
	assert.Equal(t, "content\ncontent\ncontent", s.Exec("cat /etc/careful/*"))
	assert.Empty(t, s.Exec("find /etc/careless -type f -size +0"))
}

func TestPowerCutLosesWhatWasNotWrittenYet(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.OnDisk())
	first := s.Current()
	project := e2e.NewProject(t)
	project.Set("note", "second")
	second := s.Build(project)
	s.Exec("sync; echo lost >/etc/lost")
	s.CutPower(false)
	s.Boot()
	assert.Equal(t, first, s.Current())
	assert.Equal(t, "", s.Exec("ls /etc/lost 2>/dev/null || true"))

	s.Exec(second + stc + "boot && sync")
	s.CutPower(false)
	s.Boot()
	assert.Equal(t, second, s.Current())
}
