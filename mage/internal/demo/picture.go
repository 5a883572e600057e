package demo

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/dagadbm/vps/mage/internal/picture"
	"github.com/dagadbm/vps/mage/vpstest"
)

// Picture records two updates of the played server, a good one and one that shuts
// everybody out, and draws them. mage is the command that runs a target; it gets
// the project's folder as -w. The server's own folder is left out of what it
// prints, for its paths to look as they do on a server.
func Picture(ctx context.Context, mage ...string) (svg string, err error) {
	lab, err := New()
	if err != nil {
		return "", err
	}
	defer lab.Close()
	if err := lab.Init(ctx); err != nil {
		return "", err
	}
	if err := lab.StartServer(); err != nil {
		return "", err
	}
	c := &camera{lab: lab, mage: mage, screen: picture.NewScreen(picture.Columns)}
	if err := c.play(ctx); err != nil {
		return "", err
	}
	return c.screen.SVG("mage update"), nil
}

// camera records commands one after the other.
type camera struct {
	lab    *Lab
	mage   []string
	screen *picture.Screen
}

func (c *camera) play(ctx context.Context) error {
	if err := c.lab.Commit(ctx, "A server"); err != nil {
		return err
	}
	if err := c.shoot(ctx, 0, "update", HostName); err != nil {
		return err
	}
	c.screen.Type("$ sed -i 's/enable = true/enable = false/' nix/modules/security.nix   # no more SSH")
	if err := c.lab.LockOut(); err != nil {
		return err
	}
	return c.shoot(ctx, 3, "update", HostName, "-confirm=10s")
}

// shoot runs one target, which must end with that exit status.
func (c *camera) shoot(ctx context.Context, want int, target ...string) error {
	c.screen.Type("$ mage " + strings.Join(target, " "))
	env := append(os.Environ(), "VPS_SSH_CONFIG=none", "TERM=xterm-256color", "NO_COLOR=")
	argv := append(append([]string{}, c.mage...), append([]string{"-w", c.lab.Dir}, target...)...)
	out, exit, err := picture.Record(ctx, "", env, argv...)
	if err != nil {
		return err
	}
	if exit != want {
		return fmt.Errorf("mage %s ended with exit status %d, not %d:\n%s", strings.Join(target, " "), exit, want, out)
	}
	_, err = c.screen.Write([]byte(strings.ReplaceAll(string(out), c.lab.Server.Root()+"/", "/")))
	return err
}

// LockOut switches SSH off in the project.
func (l *Lab) LockOut() error {
	if err := l.Change("nix/modules/security.nix", "enable = true", "enable = false"); err != nil {
		return err
	}
	return l.Behave(vpstest.System{SSH: vpstest.SSHStopped})
}

// LetIn undoes LockOut.
func (l *Lab) LetIn() error {
	if err := l.Change("nix/modules/security.nix", "enable = false", "enable = true"); err != nil {
		return err
	}
	return l.Behave(vpstest.System{})
}
