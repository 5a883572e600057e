package mage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/terminal"
)

// session is one call of a target: the project in the present folder, and the
// terminal that its answers go to.
type session struct {
	*deploy.Project
	UI *term.UI
}

// with runs a target's work in a session on the project in the present folder.
func with(ctx context.Context, work func(context.Context, *session) error) error {
	return guarded(ctx, func(ctx context.Context) error {
		ui := term.Std()
		p, err := deploy.Open(".", terminal.On(ui))
		if err != nil {
			return err
		}
		p.Getenv = getenv
		return work(ctx, &session{p, ui})
	})
}

// ageKey takes the age key out of the environment of this process, and so of every
// program that it starts: a plugin of age gets no environment of our making.
var ageKey = sync.OnceValue(func() string {
	key := os.Getenv("SOPS_AGE_KEY")
	_ = os.Unsetenv("SOPS_AGE_KEY") // fails for impossible names only
	return key
})

// getenv is os.Getenv, and knows the key that was taken out.
func getenv(name string) string {
	if name == "SOPS_AGE_KEY" {
		return cmp.Or(os.Getenv(name), ageKey())
	}
	return os.Getenv(name)
}

// guarded runs a target's work until it is done, or Ctrl-C, SIGTERM, SIGHUP, or
// the death of the process that started it: "go tool mage" does not pass SIGTERM
// on to the target it compiled.
func guarded(ctx context.Context, work func(context.Context) error) error {
	next.Know()
	ageKey()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go followParent(ctx, cancel)
	return terminal.Explain(work(ctx))
}

var errOrphaned = errors.New("the process that started this target is gone")

func followParent(ctx context.Context, cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if os.Getppid() != parent {
				cancel(errOrphaned)
				return
			}
		}
	}
}

// or gives the value of an optional flag.
func or[T any](flag *T, otherwise T) T {
	if flag == nil {
		return otherwise
	}
	return *flag
}

// path gives an optional flag's path, as the person meant it: a shell leaves the ~
// of -file=~/key alone, and the launcher may have come from a subfolder.
func path(flag *string) string {
	name := or(flag, "")
	if below, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, below)
		}
	}
	if from := os.Getenv("VPS_CALLED_FROM"); from != "" && name != "" && !filepath.IsAbs(name) {
		return filepath.Join(from, name)
	}
	return name
}

func updateOptions(action *string, confirm, switchtimeout, settle *time.Duration, force *bool, parallel *int) deploy.UpdateOptions {
	o := deploy.DefaultUpdate()
	o.Action = deploy.Action(or(action, string(o.Action)))
	o.Confirm = or(confirm, o.Confirm)
	o.SwitchTimeout = or(switchtimeout, o.SwitchTimeout)
	o.Settle = or(settle, o.Settle)
	o.Force = or(force, false)
	o.Parallel = or(parallel, o.Parallel)
	return o
}

// generationName writes a generation for a table.
func generationName(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
