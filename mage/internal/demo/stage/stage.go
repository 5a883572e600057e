// Package stage is how the target demo starts the program that plays it, which is
// another one: what deploys shall not hold a simulated server.
package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
)

// The environment of the program: which targets it runs, and how they are called.
const (
	EnvTargets = "VPS_DEMO_TARGETS"
	EnvProgram = "VPS_DEMO_PROGRAM"
	EnvPrefix  = "VPS_DEMO_PREFIX"
)

const (
	program = "vps-demo"
	source  = "github.com/dagadbm/vps/mage/cmd/" + program
)

// Play plays the demo with the targets of this process.
func Play(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv, dir, err := find(self)
	if err != nil {
		return err
	}
	caller := next.Here()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), EnvTargets+"="+self, EnvProgram+"="+caller.Program, EnvPrefix+"="+caller.Prefix)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("play the demo: %w", err)
	}
	return nil
}

// find is the program beside this one, as a release has it, or else go run, which
// needs the module: that of the working folder, or the sources that this was
// compiled from.
func find(self string) (argv []string, dir string, err error) {
	beside := filepath.Join(filepath.Dir(self), program)
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		return []string{beside}, "", nil
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, "", next.With(errors.New("the demo is a program of its own, which needs Go"),
			next.Words("install Go from https://go.dev/dl, or put "+program+" beside "+self))
	}
	if exec.Command(goTool, "list", source).Run() != nil {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Dir(file)
	}
	return []string{goTool, "run", source}, dir, nil
}
