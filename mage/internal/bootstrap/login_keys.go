package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
	"golang.org/x/crypto/ssh"
)

const secretsPath = "secrets/secrets.yaml"

// checkLogin: one of the keys of this machine must open the new system, else it
// would be out of reach. Where keys come from that cannot be seen here, nobody
// knows.
func (b *installation) checkLogin(ctx context.Context) error {
	if b.loginChecked == b.output {
		return nil
	}
	b.loginChecked = b.output
	mine, sealed, err := b.dialer.PublicKeys(ctx, b.host.Target)
	if err != nil {
		return connectFailure(b.host.Name, err)
	}
	if sealed {
		return nil
	}
	given, err := b.loginKeys()
	if err != nil {
		return usage(err)
	}
	switch {
	case canUse(given.text, mine):
		return nil
	case given.unknown != "":
		b.p.Log.Warn("%s: no SSH key of this machine is among the login keys of output %q that can be seen here, and %s: whether you can log in to the new system is unknown",
			b.host.Name, b.output, given.unknown)
		return nil
	}
	where := "the login keys of root in nix/"
	step := next.Say("add your public key to vps.admins (in another flake: users.users.root.openssh.authorizedKeys.keys), then run: %s", b.command())
	if given.secret != "" {
		where += ", or in the secret " + given.secret
		step = next.Say("add your public key to vps.admins, or: %s", next.Target("secrets:set", given.secret, "-from=~/.ssh/id_ed25519.pub"))
	}
	return &Failure{Host: b.host.Name, Kind: Usage, Now: "nothing was changed", Next: step,
		Err: fmt.Errorf("none of the SSH keys of this machine is among %s, so the new system would lock you out", where)}
}

// loginKeys are the keys that let somebody log in to the new system as root.
type loginKeys struct {
	text    string // lines of authorized_keys
	secret  string // that has some of them
	unknown string // why there may be more, or ""
}

// loginKeys collects them from the configuration, and from the secrets that sshd
// reads.
func (b *installation) loginKeys() (loginKeys, error) {
	given := loginKeys{text: strings.Join(b.config.RootKeys, "\n") + "\n"}
	switch {
	case b.host.User != "root":
		given.unknown = fmt.Sprintf("the keys of %s are not looked at", b.host.User)
	case b.config.RootKeys == nil:
		given.unknown = "the keys of root are unknown"
	case b.config.RootKeyFiles == nil:
		given.unknown = "sshd may take keys from elsewhere"
	}
	for _, path := range b.config.RootKeyFiles {
		at := slices.IndexFunc(b.config.Secrets, func(s secrets.Declared) bool { return s.Path == path })
		if at < 0 || b.config.Secrets[at].File != secretsPath || b.config.Secrets[at].Format != "yaml" {
			given.unknown = fmt.Sprintf("sshd reads others from %q", path)
			continue
		}
		given.secret = nameOfKey.Replace(b.config.Secrets[at].Key)
		text, err := secrets.Get(b.p.Dir, b.pre.Identities, given.secret)
		if err != nil {
			return given, err
		}
		given.text += text + "\n"
	}
	return given, nil
}

// nameOfKey gives the name of a secret for the key by which sops-nix finds it.
var nameOfKey = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `/`, `.`)

// canUse says whether one of the keys in a text like authorized_keys is mine, and
// lets me run commands.
func canUse(text string, mine []ssh.PublicKey) bool {
	for line := range strings.Lines(text) {
		key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || slices.ContainsFunc(options, otherUse) {
			continue
		}
		if slices.ContainsFunc(mine, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) }) {
			return true
		}
	}
	return false
}

// otherUse says whether a key with this option is for another use than logging in:
// for one command, or for signing certificates.
func otherUse(option string) bool {
	name, _, _ := strings.Cut(strings.ToLower(option), "=")
	return name == "command" || name == "cert-authority"
}
