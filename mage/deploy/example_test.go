package deploy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/dagadbm/vps/mage/deploy"
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

// A program of your own: it updates a server, tells its own log, and looks
// whether the server does its work.
func Example() {
	ctx := context.Background()
	project, err := deploy.Open(".", logger{})
	if err == nil {
		_, err = project.Update(ctx, "web-1", deploy.DefaultUpdate())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(deploy.ExitStatus(err))
	}
	client, err := project.Login(ctx, "web-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	_, err = client.Output(ctx, "systemctl is-active nginx", nil, 100)
	fmt.Println("healthy:", err == nil)
}
