package vpstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// buildSystem makes the system output of the tree in dir.
func (s *Server) buildSystem(dir, output string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "flake.nix")); err != nil {
		return "", fmt.Errorf("path '%s' does not contain a 'flake.nix', searching up", dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, ConfFile))
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	system, err := parseSystem(string(text))
	if err != nil {
		return "", err
	}
	outputs := system.Outputs
	if outputs == nil {
		outputs = []string{"vps-x86", "vps-arm"}
	}
	if !slices.Contains(outputs, output) {
		return "", fmt.Errorf("flake 'path:%s' does not provide attribute 'nixosConfigurations.\"%s\".config.system.build.toplevel'", dir, output)
	}
	if system.BuildFails != "" {
		return "", fmt.Errorf("%s", system.BuildFails)
	}
	name, err := hashTree(dir)
	if err != nil {
		return "", err
	}
	return s.writeSystem(name+"-"+output, system, dir)
}

// comment is a line of a Nix file that is nothing else.
var comment = regexp.MustCompile(`(?m)^\s*#.*\n?`)

// hashTree gives equal trees equal names.
func hashTree(dir string) (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content := ""
		if entry.Type() == fs.ModeSymlink {
			content, err = os.Readlink(path)
		} else {
			var text []byte
			text, err = os.ReadFile(path)
			content = string(text)
		}
		relative, _ := filepath.Rel(dir, path)
		if strings.HasSuffix(relative, ".nix") {
			content = comment.ReplaceAllString(content, "") // what Nix builds does not depend on it
		}
		fmt.Fprintf(hash, "%q %q\n", relative, content)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil))[:32], err
}

// nixosRebuild plays "nixos-rebuild build --flake path:DIR#NAME".
func (s *Server) nixosRebuild(call Call) reply {
	if len(call.Args) == 0 || call.Args[0] != "build" {
		return reply{err: "nixos-rebuild: only build is played here\n", code: 2}
	}
	dir, output, ok := flakeArgument(call.Args)
	if !ok {
		return reply{err: "nixos-rebuild: --flake path:DIR#NAME is needed\n", code: 2}
	}
	out := "building the system configuration...\n"
	system := s.confAt(dir)
	for i := range system.BuildLines {
		out += fmt.Sprintf("building '/nix/store/%032d-part.drv'...\n", i)
	}
	path, err := s.buildSystem(dir, output)
	if err == nil {
		err = replaceLink(path, filepath.Join(call.Dir, "result"))
	}
	if err != nil {
		return reply{err: fmt.Sprintf("%serror: %v\nCommand '['nix', 'build', 'path:%s#%s']' returned non-zero exit status 1.\n",
			out, err, dir, output), wait: system.BuildTime, code: 1}
	}
	return reply{err: out + "Done. The new configuration is " + path + "\n", out: path + "\n", wait: system.BuildTime}
}

func flakeArgument(args []string) (dir, output string, ok bool) {
	for i, arg := range args {
		if arg == "--flake" && i+1 < len(args) {
			dir, output, ok = strings.Cut(args[i+1], "#")
			dir, explicit := strings.CutPrefix(dir, "path:")
			return dir, output, ok && explicit
		}
	}
	return "", "", false
}

// confAt reads the behaviour of the tree or system in dir; a bad file is a good
// system here, and an error when it is built.
func (s *Server) confAt(dir string) System {
	text, _ := os.ReadFile(filepath.Join(dir, ConfFile))
	system, _ := parseSystem(string(text))
	return system
}
