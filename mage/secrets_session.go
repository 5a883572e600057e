package mage

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/dagadbm/vps/mage/secrets"
	xterm "golang.org/x/term"
)

func (s *session) initSecrets(ctx context.Context, sshKey, accept string) error {
	_, err := secrets.Init(ctx, s.Dir, secrets.InitOptions{
		Console: console{s.UI}, Declared: s.declaredOrWarn(ctx), SSHKey: sshKey, Ask: s.askPassphrase, Getenv: getenv, Accept: trust.Names(accept),
	})
	return err
}

// in is the project with the sops file that a flag names.
func (s *session) in(file string) secrets.Project { return secrets.Project{Dir: s.Dir, File: file} }

func (s *session) editSecrets(ctx context.Context, from, file string) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	changed, err := s.in(file).Edit(ctx, ids, secrets.EditOptions{
		Console: console{s.UI}, Declared: s.declaredOrWarn(ctx), From: from, Getenv: getenv,
	})
	if changed {
		s.UI.Success("encrypted; commit %s and run %s to deploy it", s.in(file).Name(), next.Target("update"))
	}
	return err
}

func (s *session) setSecret(ctx context.Context, name, from, file string) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	value, err := s.readValue(ctx, name, from)
	if err != nil {
		return err
	}
	changed, err := s.in(file).Set(ctx, ids, name, value)
	switch {
	case err != nil:
		return err
	case changed:
		s.UI.Success("%s is set; commit %s and run %s to deploy it", name, s.in(file).Name(), next.Target("update"))
	default:
		s.UI.Info("%s already has this value; nothing was written", name)
	}
	return nil
}

// readValue never takes a value from an argument: those are in the shell's
// history and in the list of processes.
func (s *session) readValue(ctx context.Context, name, from string) (string, error) {
	switch {
	case from != "":
		return secrets.ReadValueFile(from)
	case !xterm.IsTerminal(int(os.Stdin.Fd())):
		return secrets.ReadValue(os.Stdin)
	}
	return console{s.UI}.AskHidden(ctx, fmt.Sprintf("Value of %s: ", name))
}

func (s *session) getSecret(ctx context.Context, name, file string, copied bool) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	value, err := s.in(file).Get(ids, name)
	switch {
	case err != nil:
		return err
	case copied:
		return s.copySecret(name, value)
	case xterm.IsTerminal(int(os.Stdout.Fd())):
		value = shown(value) + "\n"
	}
	_, err = io.WriteString(s.UI.Out(), value)
	return err
}

// shown is a value as a terminal may have it: whoever can set a secret must not be
// able to move the cursor or fill the clipboard of who reads it.
func shown(value string) string {
	var out strings.Builder
	for value != "" {
		at := strings.IndexAny(value, "\n\t")
		if at < 0 {
			return out.String() + term.CleanAll(value)
		}
		out.WriteString(term.CleanAll(value[:at]) + value[at:at+1])
		value = value[at+1:]
	}
	return out.String()
}

// copySecret gives a value to the terminal's clipboard. Only a terminal has one.
func (s *session) copySecret(name, value string) error {
	tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return next.With(fmt.Errorf("-copy needs a terminal, whose clipboard it fills: %w", err), next.Target("secrets:get", name))
	}
	defer tty.Close()
	text, err := clipboard(value)
	if err == nil {
		_, err = io.WriteString(tty, text)
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	s.UI.Success("%s was sent to the terminal's clipboard; not every terminal takes it (OSC 52)", name)
	return nil
}

// maxClipboard is the size in bytes that every terminal with OSC 52 takes.
const maxClipboard = 74_994

// clipboard is the escape sequence OSC 52: the terminal itself fills the clipboard,
// over SSH too, and no program on the way has the value as an argument.
func clipboard(value string) (string, error) {
	if len(value) > maxClipboard {
		return "", fmt.Errorf("%d bytes do not fit into a terminal's clipboard; %d do", len(value), maxClipboard)
	}
	return "\x1b]52;c;" + base64.StdEncoding.EncodeToString([]byte(value)) + "\a", nil
}

// diff compares the secrets too, where there is a key to decrypt them with.
func (s *session) diff(ctx context.Context, host string) ([]deploy.Change, []secrets.Change, error) {
	if _, err := s.identities(ctx); err != nil {
		s.UI.Warn("which secrets differ is unknown: %v", err)
		d, err := s.Diff(ctx, host)
		return d, nil, err
	}
	return s.DiffSecrets(ctx, host)
}

func (s *session) listSecrets(ctx context.Context, file string, asJSON bool) error {
	list, err := s.listed(ctx, file)
	if err != nil {
		return err
	}
	if asJSON {
		return s.UI.JSON(list)
	}
	header, several := []string{"NAME", "SET", "DECLARED", "READABLE BY", "ON THE SERVER"}, false
	for _, l := range list {
		several = several || l.File != list[0].File
	}
	var rows [][]string
	for _, l := range list {
		row := []string{l.Name, yes(l.Present), yes(l.Declared), l.Readers, l.Path}
		if several {
			row = append(row, l.File)
		}
		rows = append(rows, row)
	}
	if several {
		header = append(header, "FILE")
	}
	return s.UI.Table(header, rows)
}

func (s *session) listed(ctx context.Context, file string) ([]secrets.Listed, error) {
	if file != "" {
		return s.in(file).List(s.declaredOrWarn(ctx))
	}
	return secrets.List(ctx, s.Dir, s.declaredOrWarn(ctx))
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func (s *session) rotateSecrets(ctx context.Context, file, host, accept string) error {
	switch {
	case file != "" && host != "":
		return &deploy.Failure{Code: deploy.CodeUsage, Err: errors.New("-file= and -host= do not go together"), Now: "nothing was changed",
			Next: next.Words("give one of them")}
	case host != "" && !slices.Contains(s.Names(), host):
		return &deploy.Failure{Code: deploy.CodeUsage, Err: fmt.Errorf("-host=%s: no such host in vps.yaml", host), Now: "nothing was changed",
			Next: next.Words("name one of vps.yaml that has ageKey: own")}
	case host != "":
		return secrets.RotateServer(ctx, s.Dir, host, s.rotation(ctx, accept))
	case file == "":
		return secrets.Rotate(ctx, s.Dir, s.rotation(ctx, accept))
	}
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	if err := s.in(file).NewDataKey(ctx, ids); err != nil {
		return err
	}
	s.UI.Success("%s has a new data key; commit it and run %s to deploy it", file, next.Target("update"))
	return nil
}

// revoke is the recipe after a break-in: it says what is left to do.
func (s *session) revoke(ctx context.Context, who string, asJSON bool) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	recipient, err := secrets.RecipientNamed(s.Dir, who)
	if err != nil {
		return err
	}
	revoked, err := secrets.Revoke(ctx, s.Dir, ids, recipient)
	if err != nil {
		return err
	}
	if asJSON {
		return s.UI.JSON(revoked)
	}
	s.UI.Success("%s", revoked)
	s.UI.Info("change each of these, where it is used and with %s; then commit and run %s:", next.Target("secrets:set"), next.Target("update"))
	for _, name := range revoked.Names {
		s.UI.Answer("%s", name)
	}
	switch {
	case revoked.Unknown != nil:
		s.UI.Warn("what git's history holds for it is unknown: %v", revoked.Unknown)
	case len(revoked.Commits) > 0:
		s.UI.Warn("%d commits hold secrets that its key still opens, the newest is %.12s: old values count as known", len(revoked.Commits), revoked.Commits[0])
	}
	return nil
}

// rotation is a rotation over every host of vps.yaml, each reached over SSH.
func (s *session) rotation(ctx context.Context, accept string) secrets.RotateOptions {
	options := secrets.RotateOptions{
		Console: console{s.UI}, Ask: s.askPassphrase, Getenv: getenv, Remote: s.RotateHosts(ctx, deploy.DefaultUpdate()),
		Accept: trust.Names(accept),
	}
	options.Hosts = s.Names()
	if len(options.Hosts) == 0 {
		s.UI.Warn("vps.yaml lists no hosts, so the key is replaced on this machine only; a server that has the old one will refuse updates: list it there first")
	}
	return options
}

func (s *session) checkSecrets(ctx context.Context, file string, asJSON bool) error {
	declared, unknown := s.declared(ctx)
	findings := secrets.Check(ctx, s.Dir, secrets.CheckOptions{
		File: file, Declared: declared, DeclaredErr: unknown, AllowSample: true, Ask: s.askPassphrase, Getenv: getenv,
	})
	if err := s.showFindings(findings, asJSON); err != nil {
		return err
	}
	if secrets.Failed(findings) {
		return &deploy.Failure{Code: deploy.CodeFindings, Err: secrets.Problems(findings), Now: "nothing was changed"}
	}
	return nil
}

func (s *session) showFindings(findings []secrets.Finding, asJSON bool) error {
	if asJSON {
		return s.UI.JSON(findings)
	}
	var rows [][]string
	for _, f := range findings {
		rows = append(rows, []string{string(f.Status), f.Name, f.Detail})
	}
	return s.UI.Table([]string{"RESULT", "CHECKED", "DETAIL"}, rows)
}
