package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Require skips the test unless the end-to-end tests were asked for, and fails
// it when they were and one of the programs is missing.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	if os.Getenv("VPS_E2E") != "1" {
		t.Skip("needs real parts: set VPS_E2E=1, as root, or run: go tool mage e2e")
	}
	if os.Geteuid() != 0 {
		t.Fatal("the end-to-end tests need root")
	}
	for _, program := range programs {
		_, err := exec.LookPath(program)
		noError(t, err, "the end-to-end tests need "+program)
	}
}

// Recipe is the absolute path of testdata/e2e/ in this repository, or of
// something below it.
func Recipe(elem ...string) string {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	return filepath.Join(append([]string{root, "testdata", "e2e"}, elem...)...)
}

// image returns the tag of the server image of a Debian suite, built now if it must
// be; "" is the usual suite.
func image(t testing.TB, suite string) string {
	t.Helper()
	argv := []string{Recipe("image", "build")}
	if suite != "" {
		argv = append(argv, suite)
	}
	return run(t, 10*time.Minute, argv...)
}

// run runs a program on this machine, fails the test if it fails, and returns
// what it printed without the last newline.
func run(t testing.TB, limit time.Duration, argv ...string) string {
	t.Helper()
	out, err := try(limit, argv...)
	noError(t, err, strings.Join(argv, " "), out)
	return out
}

// try is run for programs that may fail: its text is stdout, or stderr of a
// program that failed.
func try(limit time.Duration, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		return strings.TrimRight(stdout.String()+stderr.String(), "\n"), err
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}
