package container

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunArgsWithNothingSet(t *testing.T) {
	t.Parallel()
	assert.Equal(t,
		[]string{"run", "--rm", "--interactive", "--pull=never", "--name", "one", "image:1"},
		Engine{}.runArgs(RunSpec{Image: "image:1", Name: "one"}))
}

func TestRunArgsWithAllSet(t *testing.T) {
	t.Parallel()
	spec := RunSpec{
		Image:   "image:1",
		Name:    "one",
		Labels:  map[string]string{"vps.run": "one", "vps.host": "web-1"},
		Env:     []string{"A=1", "B=two words"},
		Volumes: []Volume{{Name: "store", Path: "/nix"}},
		Tmpfs: []Tmpfs{
			{Path: "/work", Mode: 0o700},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky, Exec: true, Size: "2g"},
		},
		Init:       true,
		LogDriver:  "none",
		Network:    "host",
		Entrypoint: "/bin/sh",
		Command:    []string{"-c", "echo $A", "x"},
	}
	assert.Equal(t, []string{
		"run", "--rm", "--interactive", "--pull=never", "--name", "one",
		"--init",
		"--log-driver", "none",
		"--network", "host",
		"--label", "vps.host=web-1",
		"--label", "vps.run=one",
		"--env", "A=1",
		"--env", "B=two words",
		"--volume", "store:/nix",
		"--tmpfs", "/work:rw,noexec,nosuid,nodev,mode=0700",
		"--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777,size=2g",
		"--entrypoint", "/bin/sh",
		"image:1",
		"-c", "echo $A", "x",
	}, Engine{}.runArgs(spec))
}

func TestRunArgsNeverAskForATerminal(t *testing.T) {
	t.Parallel()
	args := Engine{}.runArgs(RunSpec{Image: "image:1", Name: "one"})
	for _, arg := range args {
		assert.NotContains(t, []string{"-t", "-it", "-ti", "--tty"}, arg)
	}
}

func TestSpecRefusesWhatAnEngineWouldMisread(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]RunSpec{
		"no name":                   {Image: "image:1"},
		"name that is an option":    {Image: "image:1", Name: "-d"},
		"name with a space":         {Image: "image:1", Name: "a b"},
		"no image":                  {Name: "one"},
		"image that is an option":   {Image: "--privileged", Name: "one"},
		"volume that is a folder":   {Image: "image:1", Name: "one", Volumes: []Volume{{Name: "/etc", Path: "/nix"}}},
		"volume without a name":     {Image: "image:1", Name: "one", Volumes: []Volume{{Path: "/nix"}}},
		"volume with a second path": {Image: "image:1", Name: "one", Volumes: []Volume{{Name: "a:/b", Path: "/nix"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Error(t, spec.validate())
		})
	}
}

func TestVolumeNameCarriesTheTagAndTellsImagesApart(t *testing.T) {
	t.Parallel()
	images := []string{
		"nixos/nix:2.31.2", "nixos/nix:2.31.3", "other/nix:2.31.2", "nixos/nix", "localhost:5000/nix",
		"nixos/nix@sha256:27f6e7f60227e959ee7ece361f75d4844a40e1cc6878b6868fe30140420031ff",
	}
	seen := map[string]string{}
	for _, image := range images {
		name := VolumeName(image)
		require.Regexp(t, objectName, name)
		require.Empty(t, seen[name], "%s and %s share a volume", image, seen[name])
		seen[name] = image
	}
	assert.Regexp(t, `^vps-nix-2\.31\.2-[0-9a-f]{8}$`, VolumeName("nixos/nix:2.31.2"))
	assert.Regexp(t, `^vps-nix-latest-[0-9a-f]{8}$`, VolumeName("localhost:5000/nix"))
}
