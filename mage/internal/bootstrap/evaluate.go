package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
)

// evaluate asks Nix what would be installed: once, about every output that may be
// this host's, before the server is asked or touched.
func (b *installation) evaluate(ctx context.Context) error {
	progress := b.p.Log.Progress(b.host.Name)
	defer progress.Close()
	line := progress.Host(b.host.Name)
	line.Phase("evaluating the configuration")
	var outputs []string
	if output := b.host.KnownOutput(); output != "" {
		outputs = []string{output}
	}
	var err error
	b.flake, err = b.pre.Evaluate(ctx, line, outputs...)
	line.Done("", err)
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed"}
	}
	if len(outputs) == 0 { // the server's processor decides
		return nil
	}
	b.output = outputs[0]
	return b.checkFacts()
}

// checkFacts looks at what Nix says about the output that is going to be
// installed.
func (b *installation) checkFacts() (err error) {
	b.config, err = b.flake.Host(b.output)
	var missing *facts.NoOutputError
	if errors.As(err, &missing) {
		return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed",
			Next: next.Words("add it to nixosConfigurations, or name another one as flake: in vps.yaml")}
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed"}
	}
	if err := b.checkAgeKey(); err != nil {
		return err
	}
	if ports := b.config.SSHPorts; !b.host.PortDeclared && len(ports) > 0 {
		b.host.Port = ports[0]
	}
	// A declared secret that is not there fails the first start of the new system.
	return b.pre.Missing(b.config)
}

// checkAgeKey: the new system looks for the age key where bootstrap puts it.
func (b *installation) checkAgeKey() error {
	age := b.config.Age
	var err error
	switch {
	case age == nil:
		b.p.Log.Warn("%s: where output %q looks for its age key is unknown", b.host.Name, b.output)
	case age.None() && len(b.config.Secrets) > 0:
		err = fmt.Errorf("output %q sets neither sops.age.keyFile nor sops.age.sshKeyPaths: the new system could not decrypt its secrets", b.output)
	case age.KeyFile != "" && age.KeyFile != defaultAgeKey:
		err = fmt.Errorf("output %q looks for the age key at %q, and bootstrap puts it at %q", b.output, age.KeyFile, defaultAgeKey)
	}
	if err == nil {
		return nil
	}
	return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed",
		Next: next.Say("set sops.age.keyFile = %q, then run: %s", defaultAgeKey, b.command())}
}
