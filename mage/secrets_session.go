package mage

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/secrets"
	xterm "golang.org/x/term"
)

func (s *session) initSecrets(ctx context.Context, sshKey string) error {
	_, err := secrets.Init(ctx, s.Dir, secrets.InitOptions{
		Console: console{s.UI}, Declared: s.declaredOrWarn(ctx), SSHKey: sshKey, Ask: s.askPassphrase,
	})
	return err
}

func (s *session) editSecrets(ctx context.Context, from string) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	changed, err := secrets.Edit(ctx, s.Dir, ids, secrets.EditOptions{
		Console: console{s.UI}, Declared: s.declaredOrWarn(ctx), From: from,
	})
	if changed {
		s.UI.Success("encrypted; commit secrets/secrets.yaml and run `mage update` to deploy it")
	}
	return err
}

func (s *session) setSecret(ctx context.Context, name, file string) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	value, err := s.readValue(ctx, name, file)
	if err != nil {
		return err
	}
	changed, err := secrets.Set(ctx, s.Dir, ids, name, value)
	switch {
	case err != nil:
		return err
	case changed:
		s.UI.Success("%s is set; commit secrets/secrets.yaml and run `mage update` to deploy it", name)
	default:
		s.UI.Info("%s already has this value; nothing was written", name)
	}
	return nil
}

// readValue never takes a value from an argument: those are in the shell's
// history and in the list of processes.
func (s *session) readValue(ctx context.Context, name, file string) (string, error) {
	switch {
	case file != "":
		return secrets.ReadValueFile(file)
	case !xterm.IsTerminal(int(os.Stdin.Fd())):
		return secrets.ReadValue(os.Stdin)
	}
	return console{s.UI}.AskHidden(ctx, fmt.Sprintf("Value of %s: ", name))
}

func (s *session) getSecret(ctx context.Context, name string) error {
	ids, err := s.identities(ctx)
	if err != nil {
		return err
	}
	value, err := secrets.Get(s.Dir, ids, name)
	if err != nil {
		return err
	}
	if xterm.IsTerminal(int(os.Stdout.Fd())) {
		value += "\n"
	}
	_, err = io.WriteString(s.UI.Out(), value)
	return err
}

func (s *session) listSecrets(ctx context.Context, asJSON bool) error {
	list, err := secrets.List(s.Dir, s.declaredOrWarn(ctx))
	if err != nil {
		return err
	}
	if asJSON {
		return s.UI.JSON(list)
	}
	var rows [][]string
	for _, l := range list {
		rows = append(rows, []string{l.Name, yes(l.Present), yes(l.Declared), l.Readers, l.Path})
	}
	return s.UI.Table([]string{"NAME", "SET", "DECLARED", "READABLE BY", "ON THE SERVER"}, rows)
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// rotation is a rotation over every host of vps.yaml, each reached over SSH.
func (s *session) rotation(ctx context.Context) secrets.RotateOptions {
	options := secrets.RotateOptions{
		Console: console{s.UI}, Ask: s.askPassphrase, Remote: s.RotateHosts(ctx, deploy.DefaultUpdate()),
	}
	for _, host := range s.Config.Hosts {
		options.Hosts = append(options.Hosts, host.Name)
	}
	if len(options.Hosts) == 0 {
		s.UI.Warn("vps.yaml lists no hosts, so the key is replaced on this machine only; a server that has the old one will refuse updates: list it there first")
	}
	return options
}

func (s *session) checkSecrets(ctx context.Context, asJSON bool) error {
	declared, unknown := s.declared(ctx)
	findings := secrets.Check(ctx, s.Dir, secrets.CheckOptions{
		Declared: declared, DeclaredErr: unknown, AllowSample: true, Ask: s.askPassphrase,
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
