package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
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
	return b.checkFacts(ctx)
}

// checkFacts looks at what Nix says about the output that is going to be
// installed.
func (b *installation) checkFacts(ctx context.Context) (err error) {
	b.config, err = b.flake.Host(b.output)
	var missing *facts.NoOutputError
	if errors.As(err, &missing) {
		return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed",
			Next: next.Words("add it to nixosConfigurations, or name another one as flake: in vps.yaml")}
	}
	if err != nil {
		return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed"}
	}
	for _, check := range []func() error{b.checkAgeKey, b.checkDiskKeys} {
		if err := check(); err != nil {
			return err
		}
	}
	if ports := b.config.SSHPorts; !b.host.PortDeclared && len(ports) > 0 {
		b.host.Port = ports[0]
	}
	// A declared secret that is not there fails the first start of the new system.
	if err := b.pre.Missing(b.config); err != nil {
		return err
	}
	return b.checkLogin(ctx)
}

// checkAgeKey: the new system must look for an age key somewhere, and bootstrap can
// put one there.
func (b *installation) checkAgeKey() error {
	if b.config.Age == nil {
		b.p.Log.Warn("%s: where output %q looks for its age key is unknown; it is put at %s", b.host.Name, b.output, container.DefaultAgeKeyPath)
		return nil
	}
	if err := AgeFault(b.output, b.config); err != nil {
		return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed",
			Next: next.Say("%s, then run: %s", SetKeyFile(), b.command())}
	}
	return nil
}

// SetKeyFile is what to do about an [AgeFault].
func SetKeyFile() next.Step {
	return next.Words(fmt.Sprintf("set sops.age.keyFile = %q", container.DefaultAgeKeyPath))
}

// AgeFault says why a new system built from an output could not decrypt its secrets,
// whatever key bootstrap brings: it looks for none, or only for its SSH host key,
// which is new, so that no secret is encrypted to it yet. It is nil where that is
// unknown.
func AgeFault(output string, h facts.Host) error {
	switch {
	case h.Age == nil || h.Age.KeyFile != "" || len(h.Secrets) == 0:
		return nil
	case h.Age.None():
		return fmt.Errorf("output %q sets neither sops.age.keyFile nor sops.age.sshKeyPaths: the new system could not decrypt its secrets", output)
	}
	return fmt.Errorf("output %q sets no sops.age.keyFile: a new system would have only its SSH host key, which is new, so that no secret is encrypted to it", output)
}

// ageKeyPath is where the new system looks for its age key.
func (b *installation) ageKeyPath() string {
	if age := b.config.Age; age != nil {
		return age.KeyFile
	}
	return ""
}

// checkSystem compares what the output is built for with the server's processor, as
// Nix evaluates it: names of outputs say nothing.
func (b *installation) checkSystem() error {
	if b.config.System == "" || b.config.System == b.facts.Arch+"-linux" {
		return nil
	}
	return &Failure{Host: b.host.Name, Kind: Usage, Now: asItWas,
		Err:  fmt.Errorf("output %q is for %s, and the server is %s-linux", b.output, b.config.System, b.facts.Arch),
		Next: next.Say("name an output for this processor as flake: in vps.yaml, then run: %s", b.command())}
}

// checkDiskKeys reads the keys of encrypted disks from the secrets: without them
// disko would ask for a passphrase that nobody can type.
func (b *installation) checkDiskKeys() error {
	b.diskKeys = nil
	for _, path := range b.config.DiskKeys {
		name := b.p.Config.Install.DiskKeys[path]
		var text string
		var err error
		if name == "" {
			err = fmt.Errorf("output %q encrypts a disk with a key that it reads from %q, and vps.yaml does not say which secret that is", b.output, path)
		} else if text, err = secrets.Get(b.p.Dir, b.pre.Identities, name); err != nil {
			err = fmt.Errorf("key of an encrypted disk: %w", err)
		}
		if err != nil {
			return &Failure{Host: b.host.Name, Kind: Usage, Err: err, Now: "nothing was changed",
				Next: next.Say("keep the key with %s, and write in vps.yaml: install: {diskKeys: {%s: disk-key}}", next.Target("secrets:set", "disk-key"), path)}
		}
		b.diskKeys = append(b.diskKeys, []byte(text))
	}
	return nil
}
