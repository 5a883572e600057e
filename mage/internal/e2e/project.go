package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Project is a folder as a user of this repository has it: nix/ with the toy
// NixOS, ready to be changed and deployed.
type Project struct {
	// Dir is the project's folder; nix/ is in it.
	Dir string
	t   testing.TB
}

// NewProject makes a project whose system is the one that [Start] runs.
func NewProject(t testing.TB) *Project {
	t.Helper()
	p := &Project{Dir: t.TempDir(), t: t}
	noError(t, os.CopyFS(p.path("nix"), os.DirFS(Recipe("flake"))))
	return p
}

func (p *Project) path(name string) string { return filepath.Join(p.Dir, filepath.FromSlash(name)) }

// Set changes one line of nix/settings.json. The key must be there already.
func (p *Project) Set(key string, value any) {
	p.t.Helper()
	settings := map[string]any{}
	text, err := os.ReadFile(p.path("nix/settings.json"))
	noError(p.t, err)
	noError(p.t, json.Unmarshal(text, &settings))
	if _, known := settings[key]; !known {
		p.t.Fatalf("settings.json has no %q", key)
	}
	settings[key] = value
	text, err = json.MarshalIndent(settings, "", "  ")
	noError(p.t, err)
	p.Write("nix/settings.json", string(text)+"\n")
}

// Write replaces or makes a file of the project, named from its folder.
func (p *Project) Write(name, content string) {
	p.t.Helper()
	noError(p.t, os.MkdirAll(filepath.Dir(p.path(name)), 0o755))
	noError(p.t, os.WriteFile(p.path(name), []byte(content), 0o644))
}

// Read gives a file of the project.
func (p *Project) Read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(p.path(name))
	noError(p.t, err)
	return string(text)
}

// Remove deletes a file or folder of the project.
func (p *Project) Remove(name string) {
	p.t.Helper()
	noError(p.t, os.RemoveAll(p.path(name)))
}

// Unit adds a service that starts with the system and runs command.
func (p *Project) Unit(name, command string) {
	p.t.Helper()
	p.Write("nix/units/"+name, "[Service]\nExecStart="+command+"\n\n[Install]\nWantedBy=multi-user.target\n")
}

// Place copies the project's nix/ to a folder of the server, past everything
// that this repository does, and returns the flake that names its system there.
func (s *Server) Place(p *Project, dir string) string {
	s.t.Helper()
	s.Exec("rm -rf " + dir + " && mkdir -p " + dir)
	tar := exec.Command("tar", "-C", p.path("nix"), "--owner=0", "--group=0", "-c", ".")
	unpack := exec.Command("docker", "exec", "-i", s.container, "tar", "-C", dir, "-x")
	pipe, err := tar.StdoutPipe()
	noError(s.t, err)
	unpack.Stdin = pipe
	noError(s.t, tar.Start())
	out, err := unpack.CombinedOutput()
	noError(s.t, err, string(out))
	noError(s.t, tar.Wait())
	return "path:" + dir + "#" + Output()
}

// Build places the project at /etc/nixos and builds it there, with the server's
// own nixos-rebuild; it returns the store path.
func (s *Server) Build(p *Project) string {
	s.t.Helper()
	flake := s.Place(p, "/etc/nixos")
	return s.Exec("cd /tmp && nixos-rebuild build --no-reexec --flake '" + flake + "'")
}
