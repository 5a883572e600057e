package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// What a user would do instead, as the bash scripts before this project did:
// rsync of the tree over ssh, then nixos-rebuild switch over ssh.

// script runs both for one server.
func (w *world) script(ctx context.Context, h *host) error {
	to := "root@127.0.0.1:" + h.played.Path("etc/nixos") + "/"
	sync := exec.CommandContext(ctx, "rsync", "-azR", "--delete", "--exclude=*.go", "-e", strings.Join(w.ssh(h), " "),
		"nix/./", "./secrets/secrets.yaml", "./.sops.yaml", to)
	if err := w.call(sync); err != nil {
		return err
	}
	words := append(w.ssh(h), "root@127.0.0.1",
		"nixos-rebuild switch --flake path:"+h.played.Path("etc/nixos")+"#vps-x86")
	return w.call(exec.CommandContext(ctx, words[0], words[1:]...))
}

// ssh is the command line up to the address: no files of the user's, one key,
// the host key known.
func (w *world) ssh(h *host) []string {
	return []string{"ssh", "-F", "none", "-p", fmt.Sprint(h.proxy.Port()), "-i", w.identity(), "-o", "IdentitiesOnly=yes",
		"-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=" + w.knownHosts(), "-o", "GlobalKnownHostsFile=none"}
}

func (w *world) call(cmd *exec.Cmd) error {
	cmd.Dir = w.project()
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK=", "HOME="+w.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, out)
	}
	return nil
}

// scripts runs them for all servers side by side and says how long that took.
func (w *world) scripts(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	errs := make([]error, len(w.hosts))
	var wg sync.WaitGroup
	for i, h := range w.hosts {
		wg.Go(func() { errs[i] = w.script(ctx, h) })
	}
	wg.Wait()
	return time.Since(began), errors.Join(errs...)
}
