// Command vps-demo plays the whole life of a server on this machine. The target
// demo starts it: a simulated server belongs into no program that deploys.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dagadbm/vps/mage/internal/demo"
	"github.com/dagadbm/vps/mage/internal/demo/stage"
	"github.com/dagadbm/vps/mage/internal/next"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := play(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func play(ctx context.Context) error {
	targets := os.Getenv(stage.EnvTargets)
	if targets == "" {
		return errors.New("the target demo starts this program")
	}
	return demo.Play(ctx, demo.Stage{
		Targets: []string{targets},
		Caller:  next.Caller{Program: os.Getenv(stage.EnvProgram), Prefix: os.Getenv(stage.EnvPrefix)},
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Pace:    demo.Pace{Settle: time.Second, LockedOut: 5 * time.Second},
	})
}
