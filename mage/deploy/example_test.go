package deploy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/remote"
)

// logger is an observer that writes to a log, and decides nothing.
type logger struct{}

func (logger) Observe(e deploy.Event) {
	if e.Kind == deploy.EventPhase || e.Kind == deploy.EventWarning {
		slog.Info(e.Text, "host", e.Host)
	}
}
func (logger) Interactive() bool { return false }
func (logger) Ask(context.Context, deploy.Question) (string, error) {
	return "", deploy.ErrNobody
}

// A program of your own: it updates a server, tells its own log, and lets a new system
// stay only if the server does its work.
func Example() {
	ctx := context.Background()
	o := deploy.DefaultUpdate()
	o.Healthy = func(ctx context.Context, client *remote.Client) error {
		return client.Run(ctx, remote.Cmd{Line: "systemctl is-active nginx"})
	}
	project, err := deploy.Open(".", logger{})
	if err == nil {
		_, err = project.Update(ctx, "web-1", o)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(deploy.ExitStatus(err))
	}
}
