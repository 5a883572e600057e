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
// Scripts travel on standard input, so that nothing of them appears in the
// server's process list or in sudo's log.
type Command struct {
	Line  string
	Stdin string
}

// Shell says how commands become root on a server.
type Shell struct {
	// Sudo puts "sudo -n" before every command, for a login that is not root.
	Sudo bool
}

func (s Shell) script(body string, vars ...[2]string) Command {
	var b strings.Builder
	for _, v := range vars {
		fmt.Fprintf(&b, "%s=%s\n", v[0], quote(v[1]))
	}
	b.WriteString(libScript)
	b.WriteString("\n")
	b.WriteString(body)
	return Command{Line: s.Shell(), Stdin: b.String()}
}

// Shell is the line of every command whose script travels on its standard input.
// One shell may be given several scripts, one after the other.
func (s Shell) Shell() string { return s.root("/bin/sh -s") }

func (s Shell) root(line string) string {
	if s.Sudo {
		return "sudo -n " + line
	}
	return line
}

// supervisor builds the call of a script that a run left on the server.
// VPS_ROOT is empty there; the test server sets it to its folder.
func (s Shell) supervisor(id string, args ...string) Command {
	line := `"${VPS_ROOT-}"/var/lib/vps/runs/` + quote(id) + "/supervisor.sh"
	for _, a := range args {
		line += " " + quote(a)
	}
	return Command{Line: s.root("/bin/sh " + line)}
}

// FactsQuery says what Facts shall ask beyond the cheap facts.
type FactsQuery struct {
	AgeKey   string // path of the server's age key
	Manifest bool   // the listing of /etc/nixos
	Units    bool   // units that are failed or restarting
}

// FactsEnd is the last line of the facts, and of all else that is read like them.
const FactsEnd = "end"

// Facts builds the command whose output [ParseFacts] reads. It changes nothing.
func (s Shell) Facts(q FactsQuery) Command {
	return s.script(factsScript,
		[2]string{"AGE_KEY", q.AgeKey},
		[2]string{"MANIFEST", flag(q.Manifest)},
		[2]string{"UNITS", flag(q.Units)})
}

// Start builds the command that turns the archive at upload (relative to the
// login folder) into the run id and starts its supervisor. Its first lines are read
// by [ParseStart]; once the run has started, it goes on as that of Follow.
func (s Shell) Start(id, upload, sha256 string) Command {
	return s.script(startScript,
		[2]string{"ID", id},
		[2]string{"UPLOAD", "./" + upload},
		[2]string{"SHA256", sha256})
}

// Forget builds the command that keeps a run from ever starting whose start was
// cut off, unless it has started. Its output is read by [Forgotten].
func (s Shell) Forget(id string) Command {
	return s.script(forgetScript, [2]string{"ID", id})
}

// Forgotten says whether a run will never start.
func Forgotten(out []byte) bool { return strings.TrimSpace(string(out)) == "forgotten=1" }

// Generations builds the command whose output [ParseGenerations] reads.
func (s Shell) Generations() Command { return s.script(generationsScript) }

// LogMark is the line after which the log begins on the standard error of the
// commands that show a run.
const LogMark = "--- log of the run"

// Follow builds the command that shows a run: on standard output its status lines
// ([ParseStatus]) from the first on, then each as it comes; on standard error, after
// [LogMark], its log from the byte offset on, then whatever is added. It ends when
// its input does.
func (s Shell) Follow(id string, offset int64) Command {
	return s.supervisor(id, "follow", id, fmt.Sprint(offset))
}

// Probe builds the command that a new login runs after a switch: it prints what
// [ParseProbe] reads, watching the units for settle (whole seconds), and then
// reads one line: "confirm", or "reject" and a reason.
func (s Shell) Probe(id string, settle time.Duration) Command {
	return s.supervisor(id, "probe", id, fmt.Sprint(int(settle.Seconds())))
}

// Cancel builds the command that makes a run that waits to be confirmed roll back.
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
