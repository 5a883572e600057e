package vpstest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// nixEnv plays nix-env on the system profile.
func (s *Server) nixEnv(call Call) reply {
	args := call.Args
	if len(args) != 4 || args[0] != "-p" || args[1] != s.profile() {
		return reply{err: "nix-env: only the system profile is played here\n", code: 1}
	}
	var err error
	switch args[2] {
	case "--set":
		err = s.setProfile(args[3])
	case "--switch-generation":
		err = s.switchGeneration(args[3])
	case "--delete-generations":
		err = s.deleteGenerations(args[3])
	default:
		err = fmt.Errorf("unknown flag %s", args[2])
	}
	if err != nil {
		return reply{err: fmt.Sprintf("error: %v\n", err), code: 1}
	}
	return reply{}
}

func (s *Server) profile() string { return s.Path("nix/var/nix/profiles/system") }

func (s *Server) generationLink(number string) string { return s.profile() + "-" + number + "-link" }

// setProfile makes system a new generation, or keeps the present one if it is
// that system already, as Nix does.
func (s *Server) setProfile(system string) error {
	if _, err := os.Stat(system); err != nil {
		return fmt.Errorf("path '%s' is not in the Nix store", system)
	}
	if present, err := filepath.EvalSymlinks(s.profile()); err == nil && present == system {
		return nil
	}
	highest := 0
	for _, n := range s.generations() {
		highest = max(highest, n)
	}
	number := strconv.Itoa(highest + 1)
	if err := os.Symlink(system, s.generationLink(number)); err != nil {
		return err
	}
	return replaceLink(filepath.Base(s.generationLink(number)), s.profile())
}

func (s *Server) switchGeneration(number string) error {
	if _, err := os.Readlink(s.generationLink(number)); err != nil {
		return fmt.Errorf("profile version %s does not exist", number)
	}
	return replaceLink(filepath.Base(s.generationLink(number)), s.profile())
}

func (s *Server) deleteGenerations(number string) error {
	if target, _ := os.Readlink(s.profile()); target == filepath.Base(s.generationLink(number)) {
		return fmt.Errorf("cannot delete current version of profile '%s'", s.profile())
	}
	if err := os.Remove(s.generationLink(number)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func (s *Server) generations() []int {
	links, _ := filepath.Glob(s.profile() + "-*-link")
	var numbers []int
	for _, link := range links {
		text := strings.TrimSuffix(strings.TrimPrefix(link, s.profile()+"-"), "-link")
		if n, err := strconv.Atoi(text); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// replaceLink makes at a symlink to target in one step.
func replaceLink(target, at string) error {
	temp := at + ".new"
	_ = os.Remove(temp)
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return os.Rename(temp, at)
}
