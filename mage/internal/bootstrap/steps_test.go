package bootstrap

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The nixpkgs that nix/flake.lock pins has nixos-anywhere 1.13.0. Its newest (July
// 2026) announces the same.
const stepsOfNixpkgs = "5880666fd9eb563038431edb35c2d0aa595884e6"

// announced are the steps of that version, by the line of its script src/nixos-anywhere.sh;
// "$" stands for what differs.
var announced = map[int]string{
	545:  "Uploading install SSH keys",
	569:  "Gathering machine facts",
	659:  "Generating facter.json using nixos-facter from nixpkgs",
	669:  "Generating facter.json using nixos-facter",
	674:  "Generating hardware-configuration.nix using nixos-generate-config",
	714:  "Switching system into kexec",
	840:  "Uploading $ to $",
	846:  "Building disko script",
	853:  "Formatting hard drive with disko",
	860:  "Uploading the system closure",
	863:  "Building the system closure",
	871:  "Copying extra files",
	882:  "Installing NixOS",
	916:  "Rebooting",
	927:  "Waiting for the machine to become unreachable due to reboot",
	1063: "Done!",
}

// nobodysPhase are steps that begin no phase: they need an option that bootstrap
// never gives, or belong to the phase that they are in.
var nobodysPhase = map[string]bool{
	"Generating facter.json using nixos-facter from nixpkgs":            true,
	"Generating facter.json using nixos-facter":                         true,
	"Generating hardware-configuration.nix using nixos-generate-config": true,
	"Uploading $ to $": true,
}

// An update of the installer may announce steps that are not known here; then
// phases, deadlines and what is said of the disk would be wrong.
func TestStepsAreThoseOfThePinnedInstaller(t *testing.T) {
	t.Parallel()
	for line, step := range announced {
		_, known := installerSteps()[step]
		assert.NotEqual(t, known, nobodysPhase[step], "line %d: %q", line, step)
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "nix", "flake.lock"))
	require.NoError(t, err)
	lock, err := facts.ReadLock(data)
	require.NoError(t, err)
	pin, ok := lock.Nixpkgs()
	require.True(t, ok)
	assert.Equal(t, stepsOfNixpkgs, pin.Rev, `nix/flake.lock pins another nixpkgs now. Build its installer (nix build nixpkgs#nixos-anywhere.src),
run VPS_NIXOS_ANYWHERE=…/src/nixos-anywhere.sh go test ./mage/internal/bootstrap -run Steps, and write down what is new here.`)
}

var stepLine = regexp.MustCompile(`(?m)^\s*step "?([^"\n]+?)"?$`)

func TestStepsOfAScript(t *testing.T) {
	t.Parallel()
	path := os.Getenv("VPS_NIXOS_ANYWHERE")
	if path == "" {
		path = filepath.Join("..", "..", "..", "testdata", "installer", "nixpkgs", "nixos-anywhere.sh") // the stand-in
	}
	script, err := os.ReadFile(path)
	require.NoError(t, err)
	known := map[string]bool{}
	for _, step := range announced {
		known[step] = true
	}
	found := stepLine.FindAllStringSubmatch(string(script), -1)
	assert.NotEmpty(t, found)
	for _, m := range found {
		step := regexp.MustCompile(`\$(\{[^}]*\}|\w+)`).ReplaceAllString(m[1], "$$")
		assert.True(t, known[strings.TrimSpace(step)], "%q is not known here", step)
	}
}
