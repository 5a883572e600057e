package vpstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Root is the folder that plays the server's file system.
func (s *Server) Root() string { return s.root }

// Path is where path of the server lies on this machine.
func (s *Server) Path(path string) string { return filepath.Join(s.root, path) }

// Everything below / that a host has and that is not made by anything else.
var folders = strings.Fields(`boot etc home nix/store nix/var/nix/profiles nix/var/nix/gcroots proc root
run tmp usr var/lib/systemd/linger var/lib/sops-nix var/log`)

func (s *Server) makeRoot() error {
	for _, dir := range folders {
		if err := os.MkdirAll(s.Path(dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"root", "var/lib/sops-nix", s.home()} {
		if err := os.MkdirAll(s.Path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := s.makeFiles(); err != nil {
		return err
	}
	if err := s.makePrograms(s.Path(s.programsPath())); err != nil {
		return err
	}
	if s.config.noNixOS {
		return nil
	}
	return s.makeFirstSystem()
}

// home is the login folder.
func (s *Server) home() string {
	if s.config.user == "root" {
		return "/root"
	}
	return "/home/" + s.config.user
}

// programsPath is where the programs lie: in the store on NixOS, with a link
// from each system.
func (s *Server) programsPath() string {
	if s.config.noNixOS {
		return "/usr/bin"
	}
	return "/nix/store/00000000000000000000000000000000-system-path/bin"
}

// loginPath is the PATH that a login's shell has.
func (s *Server) loginPath() string {
	if s.config.noNixOS {
		return s.Path("/usr/bin")
	}
	return s.Path("/run/current-system/sw/bin")
}

func (s *Server) makeFiles() error {
	release := "ID=nixos\nPRETTY_NAME=\"NixOS 26.05 (Yarara)\"\n"
	if s.config.noNixOS {
		release = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"
	}
	files := map[string]string{
		"etc/os-release": release,
		"etc/hostname":   s.config.hostname + "\n",
		"etc/passwd":     s.passwd(),
		"proc/meminfo":   "MemTotal:        4018520 kB\nMemFree:         2012340 kB\n",
	}
	if !s.config.noNixOS {
		files["etc/NIXOS"] = ""
	}
	for _, user := range s.config.lingering {
		files["var/lib/systemd/linger/"+user] = ""
	}
	for path, text := range s.config.tree {
		files["etc/nixos/"+path] = text
	}
	for path, text := range files {
		if err := s.WriteFile(path, text); err != nil {
			return err
		}
	}
	if err := s.writeOverrides(); err != nil {
		return err
	}
	if s.config.ageKey == "" {
		return nil
	}
	return os.WriteFile(s.Path("var/lib/sops-nix/key.txt"), []byte(s.config.ageKey), 0o600)
}

func (s *Server) passwd() string {
	var b strings.Builder
	b.WriteString("root:x:0:0:System administrator:/root:/bin/sh\n")
	if s.config.user != "root" {
		fmt.Fprintf(&b, "%s:x:1000:1000::/home/%s:/bin/sh\n", s.config.user, s.config.user)
	}
	for i, user := range s.config.lingering {
		fmt.Fprintf(&b, "%s:x:%d:%d::/home/%s:/bin/sh\n", user, 1001+i, 1001+i, user)
	}
	return b.String()
}

// WriteFile puts a file (mode 0644) onto the server, with its folders.
func (s *Server) WriteFile(path, text string) error {
	at := s.Path(path)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.WriteFile(at, []byte(text), 0o644)
}

// ReadFile is the text of a file of the server, "" if there is none.
func (s *Server) ReadFile(path string) string {
	text, _ := os.ReadFile(s.Path(path))
	return string(text)
}
