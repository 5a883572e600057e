package mage

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/term"
)

// The targets as their functions declare them.
//
//go:embed bootstrap.go check.go completion.go demo.go init.go lock.go look.go rollback.go secrets_targets.go update.go
var declarations embed.FS

// init reads the command line before mage's main function does: see the record
// docs/decisions/command-line.md for why it is here.
func init() {
	// What mage compiled is named so; a test or a person's own program is not.
	if info, ok := debug.ReadBuildInfo(); !ok || info.Path != "command-line-arguments" {
		return
	}
	targets, err := cmdline.FromSource(declarations)
	if err != nil {
		return // mage reads the line
	}
	if len(os.Args) > 1 && os.Args[1] == cmdline.CompleteCommand {
		complete(targets, os.Args[2:])
		os.Exit(0)
	}
	r := &cmdline.Reader{Targets: targets, Listed: next.Listed}
	line, err := r.Read(os.Args[1:])
	switch {
	case err != nil:
		term.Std().Error(explainLine(err))
		os.Exit(int(deploy.CodeUsage))
	case line.Version:
		fmt.Println("vps", version())
		os.Exit(0)
	case line.Help != nil:
		fmt.Print(line.Help.Usage(next.Compiled()))
		os.Exit(0)
	}
	os.Args = append(os.Args[:1:1], line.Args...)
}

// explainLine says what to do about a line that was not understood.
func explainLine(err error) error {
	f := &deploy.Failure{Code: deploy.CodeUsage, Err: err, Now: "no target has run"}
	var wrong *cmdline.Error
	caller := next.Compiled()
	switch {
	case !errors.As(err, &wrong):
	case wrong.Instead != "":
		f.Next = next.Say("%s lists the targets", next.Shell(append(strings.Fields(caller.Program), "-l")...))
	case wrong.Target != nil:
		f.Next = next.Words(next.Target(wrong.Target.Name, "--help").For(caller))
	}
	return f
}

// version is that of the module that the targets come from.
func version() string {
	const module = "github.com/dagadbm/vps"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	if info.Main.Path == module && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
