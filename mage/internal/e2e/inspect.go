package e2e

// Inspect is all that the container engine knows of the server: its settings,
// what it printed, and how its files differ from the image's, by name.
func (s *Server) Inspect() string {
	s.t.Helper()
	text := ""
	for _, what := range []string{"inspect", "logs", "diff"} {
		text += run(s.t, commandLimit, "docker", what, s.container) + "\n"
	}
	return text
}
