//go:build mage

// The targets of this repository: everything that it offers others, and below
// what its own developers need.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bitfield/script"
	"github.com/magefile/mage/mg"

	//mage:import
	_ "github.com/dagadbm/vps/mage"
)

// Bumped by hand: a newer one may find something new in unchanged code.
const staticcheck = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"

// Test runs the tests that need nothing but Go.
func Test(ctx context.Context) error {
	return run(ctx, nil, "go", "test", "./...")
}

// Lint checks form and style: gofmt, go vet (for macOS, too), staticcheck and shellcheck.
func Lint(ctx context.Context) error {
	unformatted, err := script.Exec("gofmt -l .").String()
	if err != nil || unformatted != "" {
		return fmt.Errorf("gofmt: %v %q", err, strings.Fields(unformatted))
	}
	shell, err := shellFiles()
	if err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"go", "vet", "./..."},
		{"go", "vet", "-tags", "mage", "."},
		{"env", "GOOS=darwin", "GOARCH=arm64", "go", "vet", "./..."},
		{"go", "run", staticcheck, "./..."},
		append([]string{"shellcheck"}, shell...),
	} {
		if err := run(ctx, nil, argv...); err != nil {
			return err
		}
	}
	return nil
}

// E2E runs the end-to-end tests on real parts: needs Linux, root, Docker and debootstrap.
func E2E(ctx context.Context) error {
	// The Debian with the newest systemd, for some tests. Built by one of them, it would
	// hold up the others.
	if err := run(ctx, nil, "testdata/e2e/image/build", "forky"); err != nil {
		return err
	}
	return realParts(ctx, nil, "-timeout=30m", "-skip=^TestFaults", "./mage/internal/e2e/...")
}

// Faults injects faults by the hundred, on real parts too, and prints what was
// survived. VPS_FAULTS=ci makes it minutes instead of hours.
func Faults(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "vps-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report := filepath.Join(dir, "rows")
	env := []string{"VPS_FAULTS_REPORT=" + report}
	if os.Getenv("VPS_FAULTS") == "" {
		env = append(env, "VPS_FAULTS=full")
	}
	failed := realParts(ctx, env, "-timeout=8h", "-p=1", "-run=^TestFaults", "./...")
	return errors.Join(failed, run(ctx, nil, "go", "run", "./mage/internal/faults/table", report))
}

// realParts runs tests with the server image made and its containers removed.
func realParts(ctx context.Context, env []string, args ...string) error {
	if err := run(ctx, nil, "testdata/e2e/image/build"); err != nil {
		return err
	}
	id := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().Unix())
	defer run(context.Background(), nil, "testdata/e2e/image/clean", id)
	argv := []string{"go", "test", "-count=1", "-parallel=4"}
	if mg.Verbose() {
		argv = append(argv, "-v")
	}
	return run(ctx, append(env, "VPS_E2E=1", "VPS_E2E_RUN="+id), append(argv, args...)...)
}

// Bench prints what a run costs beside rsync and ssh, and which budgets hold: needs Linux, root, OpenSSH and rsync.
func Bench(ctx context.Context,
	only *string, // sections that match this: host, files, fleet, thousand, waiting, start
	quick *bool, // few tries, few hosts
) error {
	argv := []string{"go", "run", "./mage/internal/bench"}
	if only != nil {
		argv = append(argv, "-only="+*only)
	}
	if quick != nil && *quick {
		argv = append(argv, "-quick")
	}
	return run(ctx, nil, argv...)
}

// Picture makes the picture in the README anew, from a real run against the played server.
func Picture(ctx context.Context) error {
	return run(ctx, nil, "go", "run", "./mage/internal/demo/picture")
}

// run runs a program with our own output, in our own folder.
func run(ctx context.Context, env []string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// shellFiles are the tracked files that a shell runs: those that say so in their
// first line. What is only ever read by another script is checked with it.
func shellFiles() ([]string, error) {
	return script.Exec(`git grep -l -I -E "^#!/bin/(ba)?sh|^#!/usr/bin/env (ba)?sh|^# shellcheck shell="`).Slice()
}
