// Mage starts targets as github.com/magefile/mage does, which compiles them and
// asks go each time what has to be compiled again. It adds what a newcomer would
// miss there:
//
//   - it finds the magefile of the folders above, so that it can be called from
//     nix/ or any other subfolder;
//   - with -d it works from outside of the module, too;
//   - several starts at once do not get into each other's way;
//   - two projects with the same magefile do not share one compiled program;
//   - it says what it does while nothing else happens: compiling takes minutes,
//     the first time;
//   - -version is that of the targets.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"

	"github.com/magefile/mage/mage"
)

const module = "github.com/dagadbm/vps"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	inv, command, err := mage.Parse(io.Discard, io.Discard, args)
	switch {
	case errors.Is(err, flag.ErrHelp), err != nil, command == mage.Clean, command == mage.Init, command == mage.Install:
		return mage.ParseAndRun(os.Stdout, os.Stderr, os.Stdin, args)
	case command == mage.Version:
		fmt.Println(version())
		return 0
	}
	inv.Stdin, inv.Stdout, inv.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := enter(&inv); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	switch {
	case inv.List, inv.Help, inv.Autocomplete, inv.Keep, inv.Debug:
		return mage.Invoke(inv)
	case inv.CompileOut != "":
		return compile(inv, false)
	}
	return start(inv)
}

// start compiles the targets, unless that was done before, and runs them.
func start(inv mage.Invocation) int {
	exe, err := programOf(inv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	_, err = os.Stat(exe)
	first := err != nil
	if first || !inv.HashFast || inv.Force {
		build := inv
		build.CompileOut, build.Force = exe, true
		if status := compile(build, first); status != 0 {
			return status
		}
	}
	if inv.WorkDir == "" {
		inv.WorkDir = inv.Dir
	}
	return mage.RunCompiled(inv, exe, log.New(os.Stderr, "", 0))
}

// version names the module that the targets come from, and mage.
func version() string {
	own, magefile := "(devel)", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "vps " + own
	}
	if info.Main.Path == module {
		own = info.Main.Version
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case module:
			own = dep.Version
		case "github.com/magefile/mage":
			magefile = dep.Version
		}
	}
	return fmt.Sprintf("vps %s (mage %s, %s)", own, magefile, info.GoVersion)
}
