package run

import (
	"embed"
	"fmt"
	"strings"
	"time"
)

//go:embed scripts/lib.sh
var libScript string

// supervisorParts are the parts of the supervisor, in the order in which a shell
// reads them: each is about one thing, and the last one calls them.
var supervisorParts = []string{"run", "stage", "activate", "commit", "recover", "probe", "follow"}

//go:embed scripts/supervisor/*.sh
var supervisorFiles embed.FS

//go:embed scripts/facts.sh
var factsScript string

//go:embed scripts/start.sh
var startScript string

//go:embed scripts/note.sh
var noteScript string

//go:embed scripts/session.sh
var sessionScript string

//go:embed scripts/forget.sh
var forgetScript string

//go:embed scripts/generations.sh
var generationsScript string

// Supervisor returns the script that performs and guards a run on a server,
// byte for byte as it is sent along with each run.
func Supervisor() []byte {
	script := []byte("#!/bin/sh\n" + libScript)
	for _, part := range supervisorParts {
		text, err := supervisorFiles.ReadFile("scripts/supervisor/" + part + ".sh")
		if err != nil {
			panic(err) // it is embedded
		}
		script = append(append(script, '\n'), text...)
	}
	return script
}

// Command is one command for a server: a line for its login shell, and what the
// program that the line starts reads from its standard input.
//
// The line is a fixed list of words, without a quote, a variable or a redirection: it
// is all that the login's shell has to understand, be that fish, tcsh or nushell.
// Scripts and their values travel on standard input, so that nothing of them appears
// in the server's process list or in sudo's log either.
type Command struct {
	Line  string
	Stdin string
}

// Shell says how commands become root on a server.
type Shell struct {
	// Root is the program that is put before every command of a login that is not
	// root; "" for one that is.
	Root Root
}

// Line is the line of every command.
func (s Shell) Line() string { return rootWords[s.Root] + "/bin/sh -s" }

// script is a command of its own: values, then the script, in braces. A shell carries
// out what is in braces once it has read all of it, so a connection that breaks in the
// middle of a script leaves no half of a line behind that is run.
func (s Shell) script(body string, vars ...[2]string) Command {
	var b strings.Builder
	b.WriteString("{\n")
	for _, v := range vars {
		fmt.Fprintf(&b, "%s=%s\n", v[0], quote(v[1]))
	}
	b.WriteString(compact(body))
	b.WriteString("}\n")
	return Command{Line: s.Line(), Stdin: b.String()}
}

// library is script with what all scripts share before it.
func (s Shell) library(body string, vars ...[2]string) Command {
	return s.script(libScript+"\n"+body, vars...)
}

// compact takes out what no shell needs: a script travels with every command, and
// should fit into what a network sends at once.
func compact(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(line, " ")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// supervisor builds the call of a script that a run left on the server.
// VPS_ROOT is empty there; the test server sets it to its folder.
func (s Shell) supervisor(id string, args ...string) Command {
	words := ""
	for _, a := range args {
		words += " " + quote(a)
	}
	return s.script("set --" + words + "\n. \"${VPS_ROOT-}/var/lib/vps/runs/\"" + quote(id) + "/supervisor.sh\nexit\n")
}

// FactsQuery says what Facts shall ask beyond the cheap facts.
type FactsQuery struct {
	AgeKey   string   // path of the server's age key
	SSHKeys  []string // paths of SSH host keys that serve as age keys
	Manifest bool     // the listing of /etc/nixos
	Units    bool     // units that are failed or restarting
}

// Facts builds the command whose output [ParseFacts] reads. It changes nothing.
func (s Shell) Facts(q FactsQuery) Command { return s.library(factsScript, q.vars()...) }

// Session builds the command that prints the facts, as [Shell.Facts], and then takes
// orders. [Link.Open] starts it.
func (s Shell) Session(q FactsQuery) Command {
	return s.library(generationsScript+noteScript+startScript+factsScript+sessionScript, q.vars()...)
}

func (q FactsQuery) vars() [][2]string {
	return [][2]string{{"AGE_KEY", q.AgeKey}, {"SSH_KEYS", strings.Join(q.SSHKeys, "\n")}, {"MANIFEST", flag(q.Manifest)}, {"UNITS", flag(q.Units)}}
}

// Forget builds the command that keeps a run from ever starting whose start was
// cut off, unless it has started. Its output is read by [Forgotten].
func (s Shell) Forget(id string) Command {
	return s.library(forgetScript, [2]string{"ID", id})
}

// Forgotten says whether a run will never start.
func Forgotten(out []byte) bool { return strings.TrimSpace(string(out)) == answerForgotten }

// Generations builds the command whose output [ParseGenerations] reads.
func (s Shell) Generations() Command {
	return s.library(generationsScript + "generations\n")
}

// Follow builds the command that shows a run: on standard output its status lines
// ([ParseStatus]) from the first on, then each as it comes; on standard error, after
// [LogMark], its log from the byte offset on, then whatever is added. It ends when
// its input does.
func (s Shell) Follow(id string, offset int64) Command {
	return s.supervisor(id, "follow", id, fmt.Sprint(offset))
}

// Probe builds the command that a new login runs after a switch: it prints what
// [Evidence.Add] reads, watching the units for settle (whole seconds), and then
// reads one line: "confirm", or "reject" and a reason. Secrets are paths where
// something must lie.
func (s Shell) Probe(id string, settle time.Duration, secrets ...string) Command {
	return s.supervisor(id, append([]string{"probe", id, fmt.Sprint(int(settle.Seconds()))}, secrets...)...)
}

// Cancel builds the command that makes a run that waits to be confirmed roll back.
// Who follows the run over the same connection cancels it there instead.
func (s Shell) Cancel(id string) Command {
	return s.supervisor(id, "cancel", id, "cancelled by a rollback")
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return ""
}

// quote makes s one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
