package mage_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// completing is a program that answers a shell as the targets do, from what the
// real ones declare.
func completing(t *testing.T, dir string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	here, err := os.Getwd()
	require.NoError(t, err)
	require.NoError(t, program.Write(filepath.Join(dir, "vps"), "#!/bin/sh\nVPS_TEST_COMPLETE="+here+" exec "+self+" \"$@\"\n"))
}

// candidates are what the program of the test answers.
func candidates(sources string, words []string) []cmdline.Candidate {
	targets, err := cmdline.FromSource(os.DirFS(sources))
	if err != nil {
		return nil
	}
	r := &cmdline.Reader{Targets: targets, Listed: func() (names []string) {
		for _, target := range targets {
			names = append(names, target.Name)
		}
		return names
	}}
	fixed := func(words ...string) (all []cmdline.Candidate) {
		for _, w := range words {
			all = append(all, cmdline.Candidate{Word: w})
		}
		return all
	}
	return r.Complete(words, cmdline.Values{
		Hosts:       func() []cmdline.Candidate { return fixed("web-1", "web-2", "@prod", "all") },
		Secrets:     func() []cmdline.Candidate { return fixed("gateway-token", "smtp.password") },
		Generations: func(string) []cmdline.Candidate { return fixed("11", "12") },
		Inputs:      func() []cmdline.Candidate { return fixed("nixpkgs", "sops-nix") },
	})
}

// completions are lines that a person types up to the tabulator, and how they go on.
var completions = []struct{ typed, line string }{
	{"vps upd", "vps update "},
	{"vps secrets:li", "vps secrets:list "},
	{"vps secrets:get gate", "vps secrets:get gateway-token "},
	{"vps update @pr", "vps update @prod "},
	{"vps update web-1 -act", "vps update web-1 -action="},
	{"vps update web-1 -action=bo", "vps update web-1 -action=boot "},
	{"vps lock -input=sop", "vps lock -input=sops-nix "},
	{"vps bootstrap web-1 -buildon=rem", "vps bootstrap web-1 -buildon=remote "},
}

// In the real shells, each on a terminal of its own: zsh takes the colon for a
// description, and bash breaks words at it.
func TestShellsComplete(t *testing.T) {
	t.Parallel()
	for shell, start := range map[string][]string{
		"bash": {"bash", "--norc", "--noprofile", "-i"},
		"zsh":  {"zsh", "-f", "-i"},
		"fish": {"fish", "--no-config", "-i"},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				if os.Getenv("VPS_E2E") != "" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			dir := t.TempDir()
			completing(t, dir)
			script, err := cmdline.Script(shell, "vps")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "script"), []byte(script), 0o644))
			begin := "PS1='> '; "
			if shell == "zsh" {
				begin = "PROMPT='> '; autoload -Uz compinit; compinit -u -D; "
			}
			if shell == "fish" {
				begin = "function fish_prompt; echo '> '; end; "
			}
			s := openShell(t, dir, start)
			s.write(begin + ". " + dir + "/script; echo rea''dy\n")
			s.until("ready")
			for _, c := range completions {
				s.write("\x15" + c.typed + "\t")
				s.until(strings.TrimRight(c.line, " "))
			}
		})
	}
}

// shell is a shell on a terminal.
type shell struct {
	t    *testing.T
	file *os.File
	read chan string
}

func openShell(t *testing.T, dir string, argv []string) *shell {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "TERM=xterm", "HISTFILE=", "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	require.NoError(t, err)
	s := &shell{t: t, file: file, read: make(chan string, 100)}
	go func() {
		defer close(s.read)
		buffer := make([]byte, 4096)
		for {
			n, err := file.Read(buffer)
			if err != nil {
				return
			}
			text := string(buffer[:n])
			// fish asks its terminal who it is, and waits for the answer.
			if strings.Contains(text, "\x1b[c") || strings.Contains(text, "\x1b[0c") {
				_, _ = file.WriteString("\x1b[?62c")
			}
			s.read <- text
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = file.Close() })
	return s
}

func (s *shell) write(text string) {
	s.t.Helper()
	_, err := s.file.WriteString(text)
	require.NoError(s.t, err)
}

// until waits for a text on the screen.
func (s *shell) until(text string) {
	s.t.Helper()
	var seen strings.Builder
	deadline := time.After(30 * time.Second)
	for !strings.Contains(plainText(seen.String()), text) {
		select {
		case more, ok := <-s.read:
			if !ok {
				assert.Fail(s.t, "the shell is gone", "%q", seen.String())
				return
			}
			seen.WriteString(more)
		case <-deadline:
			require.Fail(s.t, "not on the screen", "%q: %q", text, seen.String())
		}
	}
}

// plainText is what a terminal shows of a text: lines, in which a shell goes back
// and writes over what is there.
func plainText(text string) string {
	var shown strings.Builder
	var line []rune
	at := 0
	for _, r := range escapes.ReplaceAllString(text, "") {
		switch r {
		case '\b':
			at = max(0, at-1)
		case '\r', '\a':
		case '\n':
			shown.WriteString(string(line) + "\n")
			line, at = nil, 0
		default:
			line = append(line[:min(at, len(line))], append([]rune{r}, line[min(at+1, len(line)):]...)...)
			at++
		}
	}
	return shown.String() + string(line)
}
