package deploy

import (
	"testing"

	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
)

// A login that is not root's becomes root by whatever program the server has.
func TestBecomesRootByTheProgramThatIsThere(t *testing.T) {
	t.Parallel()
	for name, program := range map[string][]vpstest.Option{"sudo": nil, "doas": {vpstest.WithDoas()}, "run0": {vpstest.WithRun0()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := f.server("web", append(program, vpstest.WithUser("admin"))...)
			h := f.hosts["web"]
			h.User = "admin"
			f.hosts["web"] = h
			f.mustUpdate("web")
			assert.FileExists(t, s.Path("etc/nixos/flake.nix"))
			f.mustUpdate("web") // what is there is found the same way
		})
	}
}
