package fresh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/e2e"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limit is for commands that take no time by themselves, on a busy machine.
const limit = 2 * time.Minute

// recipe is the path of testdata/installer or of something below it.
func recipe(elem ...string) string {
	return filepath.Join(append([]string{e2e.Recipe(), "..", "installer"}, elem...)...)
}

// images builds the two images unless they are there.
func images(t testing.TB) (nix, server string) {
	t.Helper()
	e2e.Require(t, "docker", "debootstrap")
	out := run(t, 15*time.Minute, recipe("image", "build"))
	nix, server, ok := strings.Cut(out, "\n")
	require.True(t, ok, out)
	return nix, server
}

// NixImage is the tag of an image that plays nixos/nix. The tag is the test's
// own, and so is the volume named after it: both are gone when the test ends.
func NixImage(t testing.TB) string {
	t.Helper()
	image, _ := images(t)
	tag := fmt.Sprintf("test-%08x", rand.Uint32())
	own := "vps-e2e-nix-of:" + tag
	run(t, limit, "docker", "tag", image, own)
	t.Cleanup(func() {
		volumes, err := try(limit, "docker", "volume", "ls", "--quiet", "--filter", "name="+tag)
		assert.NoError(t, err)
		for _, volume := range strings.Fields(volumes) {
			_, err := try(limit, "docker", "volume", "rm", "--force", volume)
			assert.NoError(t, err)
		}
		_, err = try(limit, "docker", "image", "rm", own)
		assert.NoError(t, err)
	})
	return own
}

func run(t testing.TB, limit time.Duration, argv ...string) string {
	t.Helper()
	out, err := try(limit, argv...)
	require.NoError(t, err, "%s: %s", strings.Join(argv, " "), out)
	return out
}

// try gives stdout, or all that was said by a program that failed.
func try(limit time.Duration, argv ...string) (string, error) {
	return pipe(limit, "", argv...)
}

func pipe(limit time.Duration, stdin string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		return strings.TrimRight(stdout.String()+stderr.String(), "\n"), err
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}
