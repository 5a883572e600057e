package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
)

// world is a project and its servers, in a folder of their own.
type world struct {
	dir   string
	keys  keys
	hosts []*host
}

// starter starts one server with its files in dir.
type starter func(name, dir string, k keys, ageKey string) (*host, error)

// newWorld copies the project of this repository and starts so many servers, with
// all files under parent.
func newWorld(parent string, servers int, start starter) (*world, error) {
	dir, err := os.MkdirTemp(parent, "vps-bench-")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir}
	if w.keys, err = newKeys(); err == nil {
		err = w.makeProject()
	}
	if err == nil {
		err = w.startHosts(servers, start)
	}
	if err == nil {
		err = w.writeConfig()
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) project() string      { return filepath.Join(w.dir, "project") }
func (w *world) identity() string     { return filepath.Join(w.dir, "id_ed25519") }
func (w *world) knownHosts() string   { return filepath.Join(w.dir, "known_hosts") }
func (w *world) file(p string) string { return filepath.Join(w.project(), p) }

// makeProject is a project as init makes one, with an age key of its own.
func (w *world) makeProject() error {
	public := filepath.Join(w.dir, "login.pub")
	if err := os.WriteFile(public, []byte(w.keys.userPublic+"\n"), 0o644); err != nil {
		return err
	}
	options := deploy.InitOptions{SSHKey: public, Getenv: func(string) string { return "" }}
	if err := deploy.Init(context.Background(), w.project(), nil, options); err != nil {
		return err
	}
	if err := os.WriteFile(w.identity(), []byte(w.keys.userPrivate), 0o600); err != nil {
		return err
	}
	return w.git("init", "--quiet")
}

// write makes or replaces a file of the project.
func (w *world) write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(w.file(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(w.file(name), []byte(text), 0o644)
}

// commit makes all files of the project a git commit.
func (w *world) commit() error {
	if err := w.git("add", "."); err != nil {
		return err
	}
	return w.git("-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "--allow-empty", "-m", "bench")
}

func (w *world) git(args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Dir = w.project()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}

// startHosts starts servers a few at a time.
func (w *world) startHosts(servers int, start starter) error {
	ageKey, err := os.ReadFile(w.file("secrets/age-key.txt"))
	if err != nil {
		return err
	}
	w.hosts = make([]*host, servers)
	errs := make([]error, servers)
	places := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for i := range servers {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			name := fmt.Sprintf("host-%d", i+1)
			w.hosts[i], errs[i] = start(name, filepath.Join(w.dir, name), w.keys, string(ageKey))
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// writeConfig makes vps.yaml, and what ssh knows of the same servers.
func (w *world) writeConfig() error {
	var config, known strings.Builder
	config.WriteString("hosts:\n")
	for _, h := range w.hosts {
		config.WriteString(h.entry(w.keys, w.identity()))
		fmt.Fprintf(&known, "[127.0.0.1]:%d %s\n", h.port(), w.keys.hostPublic)
	}
	if err := w.write("vps.yaml", config.String()); err != nil {
		return err
	}
	if err := os.WriteFile(w.knownHosts(), []byte(known.String()), 0o600); err != nil {
		return err
	}
	return w.commit()
}

// far sets the round-trip time to every server and begins to count anew.
func (w *world) far(rtt time.Duration) {
	for _, h := range w.hosts {
		h.far(rtt)
	}
}

func (w *world) close() error {
	for _, h := range w.hosts {
		if h != nil {
			h.close()
		}
	}
	return os.RemoveAll(w.dir)
}
