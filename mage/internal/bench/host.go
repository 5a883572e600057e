package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/bench/delay"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/dagadbm/vps/mage/vpstest"
	"golang.org/x/crypto/ssh"
)

//go:embed programs
var standIns embed.FS

// host is one server: real OpenSSH and the real scripts in a folder, behind a
// long way. What would change a machine is played by programs that do as little
// as they can, the same for us and for rsync and ssh.
type host struct {
	name   string
	played *vpstest.Server
	sshd   *daemon
	proxy  *delay.Proxy
}

// newHost starts a server with its files in dir.
func newHost(name, dir string, k keys, ageKey string) (*host, error) {
	h, err := playedHost(name, dir, ageKey)
	if err != nil {
		return nil, err
	}
	h.sshd, err = startDaemon(dir, h.played.Path("root"), k,
		"VPS_ROOT="+h.played.Root(), "PATH="+h.played.Path("run/current-system/sw/bin"))
	if err == nil {
		h.proxy, err = delay.Listen(h.sshd.address())
	}
	if err != nil {
		h.close()
		return nil, fmt.Errorf("start server %s: %w", name, err)
	}
	return h, nil
}

// newSimulated starts a server whose SSH is played too, in this process, and not
// far away: a thousand of the real ones are more than one machine bears.
func newSimulated(name, dir string, k keys, ageKey string) (*host, error) {
	hostKey, err := ssh.ParsePrivateKey([]byte(k.hostPrivate))
	if err != nil {
		return nil, err
	}
	user, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.userPublic))
	if err != nil {
		return nil, err
	}
	return playedHost(name, dir, ageKey, vpstest.WithHostKey(hostKey), vpstest.WithAuthorizedKey(user))
}

func playedHost(name, dir, ageKey string, options ...vpstest.Option) (*host, error) {
	programs, err := programsOf("nixos-rebuild", "nix-env", "systemctl", "systemd-run", "sync")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &host{name: name}
	h.played, err = vpstest.NewIn(dir, append(options, vpstest.WithAgeKey(ageKey), vpstest.WithPrograms(programs))...)
	if err == nil {
		err = h.furnish()
	}
	if err != nil {
		h.close()
		return nil, fmt.Errorf("start server %s: %w", name, err)
	}
	return h, nil
}

// port is where a client reaches it.
func (h *host) port() int {
	if h.proxy == nil {
		return h.played.Port()
	}
	return h.proxy.Port()
}

func programsOf(names ...string) (map[string]string, error) {
	programs := map[string]string{}
	for _, name := range names {
		text, err := standIns.ReadFile("programs/" + name + ".sh")
		if err != nil {
			return nil, err
		}
		programs[name] = string(text)
	}
	return programs, nil
}

// furnish adds what the stand-ins need, rsync, and those programs as they are that
// nothing here has to play.
func (h *host) furnish() error {
	text, err := standIns.ReadFile("programs/switch-to-configuration.sh")
	if err != nil {
		return err
	}
	if err := program.Write(h.played.Path("nix/switch-to-configuration"), string(text)); err != nil {
		return err
	}
	for _, secret := range []string{"run/secrets/gateway-token", "run/secrets-for-users/ssh-public-key"} {
		if err := h.played.WriteFile(secret, ""); err != nil {
			return err
		}
	}
	software, err := filepath.EvalSymlinks(h.played.Path("run/current-system/sw"))
	if err != nil {
		return err
	}
	if err := os.Symlink(software, h.played.Path("nix/sw")); err != nil {
		return err
	}
	for _, name := range []string{"rsync", "df", "id", "mountpoint", "uname"} {
		link := filepath.Join(software, "bin", name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(filepath.Join("/usr/bin", name), link); err != nil {
			return err
		}
	}
	return nil
}

// far sets the round-trip time from now on, and begins to count anew.
func (h *host) far(rtt time.Duration) {
	if h.proxy == nil {
		return
	}
	h.proxy.SetRTT(rtt)
	h.proxy.Reset()
}

// buildBegan is when nixos-rebuild was called last.
func (h *host) buildBegan() (time.Time, error) {
	info, err := os.Stat(h.played.Path("run/began"))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// entry is the server in vps.yaml.
func (h *host) entry(k keys, identity string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n    address: 127.0.0.1\n    port: %d\n    user: root\n", h.name, h.port())
	fmt.Fprintf(&b, "    identity: %s\n    hostKey: %s\n", identity, k.hostPublic)
	return b.String()
}

func (h *host) close() {
	if h.proxy != nil {
		_ = h.proxy.Close()
	}
	if h.sshd != nil {
		h.sshd.stop()
	}
	if h.played != nil {
		_ = h.played.Close()
	}
}
