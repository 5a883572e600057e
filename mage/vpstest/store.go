package vpstest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const goodVersion = "26.05.20260820.5880666"

// makeFirstSystem builds a system from the server's first tree, or one from
// nothing, and makes it generation 1 and the boot default.
func (s *Server) makeFirstSystem() error {
	tree := s.Path("etc/nixos")
	system, err := s.buildSystem(tree, s.config.output)
	if len(s.config.tree) == 0 {
		system, err = s.writeSystem("system-1", System{}, "")
	}
	if err != nil {
		return err
	}
	if err := s.setProfile(system); err != nil {
		return err
	}
	return s.setBootDefault(system)
}

// AddSystem puts a system that behaves like system into the store, built from no
// tree, and returns its path. Equal names are the same system.
func (s *Server) AddSystem(name string, system System) (string, error) {
	return s.writeSystem(name, system, "")
}

// writeSystem makes a system's folder in the store, whole or not at all.
func (s *Server) writeSystem(name string, system System, tree string) (string, error) {
	version := system.Version
	if version == "" {
		version = goodVersion
	}
	if !strings.Contains(name, "-vps-") {
		name = fmt.Sprintf("%x-%s", sha256.Sum256([]byte(name)), name)[32:]
	}
	path := s.Path("nix/store/" + name + "-nixos-system-" + version)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if system.Kernel == 0 {
		system.Kernel = 4096
	}
	files := map[string]string{
		ConfFile: system.Conf(), "nixos-version": version, "system": strings.Replace(s.config.arch, "arm64", "aarch64", 1) + "-linux",
		"init-interface-version": "systemd 2", "secrets": "", "initrd": name,
	}
	if tree != "" {
		files["secrets"] = strings.Join(system.secrets(os.DirFS(tree)), "\n")
	}
	for _, u := range system.Units {
		switch {
		case u.Foreign:
		case u.User == "":
			files["etc/systemd/system/"+u.Name] = "[Service]\n"
		default:
			files["etc/systemd/user/"+u.Name] = "[Service]\n"
		}
	}
	if system.Port != 0 {
		files["etc/ssh/sshd_config"] = fmt.Sprintf("Port %d\n", system.Port)
	}
	if system.Facts != "" {
		files["etc/vps/facts.json"] = system.Facts
	}
	temp := path + ".new"
	if err := os.MkdirAll(filepath.Join(temp, "bin"), 0o755); err != nil {
		return "", err
	}
	for file, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(temp, file)), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(temp, file), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return path, s.finishSystem(temp, path, system)
}

func (s *Server) finishSystem(temp, path string, system System) error {
	kernel := filepath.Join(temp, "kernel")
	if err := os.WriteFile(kernel, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(kernel, system.Kernel); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Dir(s.Path(s.programsPath())), filepath.Join(temp, "sw")); err != nil {
		return err
	}
	if !system.NoSwitch {
		if err := s.installScript("switch-to-configuration.sh", filepath.Join(temp, "bin/switch-to-configuration")); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, path); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}
