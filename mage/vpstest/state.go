package vpstest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CurrentSystem is the path of the system that runs now.
func (s *Server) CurrentSystem() string { return s.target("run/current-system") }

// BootedSystem is the path of the system that the server started with.
func (s *Server) BootedSystem() string { return s.target("run/booted-system") }

// BootDefault is the path of the system that the next start begins with.
func (s *Server) BootDefault() string { return strings.TrimSpace(s.ReadFile(bootDefaultFile)) }

// ProfileSystem is the path of the system that the profile points to.
func (s *Server) ProfileSystem() string { return s.target("nix/var/nix/profiles/system") }

func (s *Server) target(link string) string {
	path, _ := filepath.EvalSymlinks(s.Path(link))
	return path
}

// Generation is the number of the profile's generation, 0 if there is none.
func (s *Server) Generation() int {
	link, _ := os.Readlink(s.profile())
	text := strings.TrimSuffix(strings.TrimPrefix(link, "system-"), "-link")
	n, _ := strconv.Atoi(text)
	return n
}

// Generations lists the numbers of the profile's generations, lowest first.
func (s *Server) Generations() []int { return s.generations() }

// Files are the files of /etc/nixos: their text by their path. A symlink's text
// is "-> " and its target. Nil means that there is no such folder.
func (s *Server) Files() map[string]string {
	files, _ := readTree(s.Path("etc/nixos"))
	return files
}

// Manifest is the canonical listing of /etc/nixos, as the server makes it.
func (s *Server) Manifest() string {
	if _, err := os.Stat(s.Path("etc/nixos")); err != nil {
		return "missing\n"
	}
	return manifestOf(os.DirFS(s.Path("etc/nixos")))
}

// TreeDigest is the digest of /etc/nixos: the SHA-256 of its manifest.
func (s *Server) TreeDigest() string { return hexHash(s.Manifest()) }

// Record is what the server knows of its last commit; nil if there was none.
func (s *Server) Record() map[string]string { return s.fields("var/lib/vps/record") }

// Intent is the record of a commit that is not finished; nil if there is none.
func (s *Server) Intent() map[string]string { return s.fields("var/lib/vps/intent") }

// Runs lists the names of the runs that the server still keeps.
func (s *Server) Runs() []string {
	entries, _ := os.ReadDir(s.Path("var/lib/vps/runs"))
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// RunFile is the text of a file of a run: "log", "status", "ended".
func (s *Server) RunFile(id, name string) string {
	return s.ReadFile("var/lib/vps/runs/" + id + "/" + name)
}

func (s *Server) fields(path string) map[string]string {
	text := s.ReadFile(path)
	if text == "" {
		return nil
	}
	fields := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if key, value, found := strings.Cut(line, "="); found {
			fields[key] = value
		}
	}
	return fields
}

func valueOf(text, key string) string {
	for _, line := range strings.Split(text, "\n") {
		if value, found := strings.CutPrefix(line, key+"="); found {
			return value
		}
	}
	return ""
}
