// Command vps-init turns a folder into a project that can make and update NixOS
// servers. It is for a repository that has none of our files yet:
//
//	go run github.com/dagadbm/vps/mage/cmd/vps-init@latest [-dir=.] [-sshkey=FILE]
//
// It does what the target init does, overwrites nothing, and prints the commands
// that come next.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/terminal"
)

func main() { os.Exit(run()) }

func run() int {
	dir := flag.String("dir", ".", "the folder; made if it is missing")
	key := flag.String("sshkey", "", "public key `file` that may log in; without it, you are asked about the usual ones")
	flag.Parse()
	ui := term.Std()
	if flag.NArg() > 0 {
		ui.Error(fmt.Errorf("%q is not understood: the folder is given as -dir=FOLDER", flag.Arg(0)))
		return int(deploy.CodeUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := deploy.Init(ctx, *dir, terminal.On(ui), deploy.InitOptions{SSHKey: *key})
	ui.Error(err)
	return deploy.ExitStatus(err)
}
