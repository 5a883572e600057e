package deploy

import (
	"slices"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/internal/trust"
	"github.com/dagadbm/vps/mage/secrets"
)

// A server decrypts with the identities in its age key file, which are the key of this
// machine or one that no other machine has, and with its SSH host key, as its
// configuration says. Which of them it has, it proves by their hashes and by the public
// half of the host key.

// known is an answer that nobody may have.
type known int

const (
	unknown known = iota
	no
	yes
)

// keyFileDecrypts says whether an identity in the server's key file decrypts a file.
// The report is nil for a file that is encrypted for others.
func (pre *prepared) keyFileDecrypts(h config.Host, age facts.Age, f run.Facts, report *secrets.Report) known {
	switch {
	case age.KeyFile == "":
		return no
	case age.KeyFile != pre.ageKeyPath(h.KnownOutput()):
		return unknown // another file was asked for
	case len(f.AgeKeys) == 0:
		return no
	case report == nil:
		return unknown
	case report.CanDecrypt(f.AgeKeys):
		return yes
	case !h.OwnAgeKey:
		return no
	}
	decrypts, made := report.Server(pre.trust, h.Name, f.AgeKeys)
	switch {
	case decrypts:
		return yes
	case made:
		return no
	}
	return unknown // the key was made on another machine
}

// hostKeyDecrypts says whether the server's SSH host key decrypts a file.
func hostKeyDecrypts(age facts.Age, f run.Facts, report *secrets.Report) known {
	switch {
	case age.SSHKeyPaths != nil && len(age.SSHKeyPaths) == 0:
		return no
	case report == nil:
		return unknown
	case slices.ContainsFunc(sshRecipients(f), func(name string) bool { return slices.Contains(report.Recipients, name) }):
		return yes
	case age.SSHKeyPaths == nil || len(f.SSHKeys) < len(age.SSHKeyPaths):
		return unknown // not asked for, or not there
	}
	return no
}

// sshRecipients are the age recipients of the SSH host keys that a server told of. Only
// keys of type ed25519 have one.
func sshRecipients(f run.Facts) []string {
	var out []string
	for _, line := range f.SSHKeys {
		if recipient, err := secrets.SSHRecipient(line); err == nil {
			out = append(out, recipient)
		}
	}
	return out
}

// decrypts says whether the server can decrypt the files that its secrets lie in with
// what it has. Which key the system uses is known only from an evaluation of this tree.
func (pre *prepared) decrypts(h config.Host, f run.Facts) known {
	answer, _ := pre.decryptsAll(h, f)
	return answer
}

// decryptsAll names a file that it cannot decrypt, too.
func (pre *prepared) decryptsAll(h config.Host, f run.Facts) (answer known, file string) {
	config := pre.facts(output(h, f))
	if config.Age == nil || config.Age.None() || config.Secrets == nil {
		return unknown, ""
	}
	answer = yes
	for _, file := range config.Files() {
		report := pre.reports[file]
		byFile, byHostKey := pre.keyFileDecrypts(h, *config.Age, f, report), hostKeyDecrypts(*config.Age, f, report)
		switch {
		case byFile == no && byHostKey == no:
			return no, file
		case byFile != yes && byHostKey != yes:
			answer = unknown
		}
	}
	return answer, ""
}

// refuseKey: a server that cannot decrypt the new secrets would come up without them,
// the login keys included. Where that is unknown nothing is refused: the server builds
// the system and then knows.
func refuseKey(h config.Host, pre *prepared, f run.Facts) error {
	answer, file := pre.decryptsAll(h, f)
	if answer != no {
		return nil
	}
	file = pre.tree.Source(file)
	rotate := next.Target("secrets:rotate")
	if h.OwnAgeKey {
		rotate = next.Target("secrets:rotate", "-host="+h.Name)
	}
	age := pre.facts(output(h, f)).Age
	switch recipients := sshRecipients(f); {
	case age.KeyFile == "" && len(recipients) > 0:
		return refused(h.Name, next.Say("if that is the server's key, add %s to .sops.yaml and run %s", recipients[0], next.Target("secrets:init")),
			"the system decrypts with the server's SSH host key, and %s is not encrypted to it", file)
	case age.KeyFile == "":
		return refused(h.Name, next.Say("set sops.age.keyFile or sops.age.sshKeyPaths"),
			"the system decrypts with no key that the server has (an SSH host key must be of type ed25519)")
	case len(f.AgeKeys) == 0:
		return refused(h.Name, next.Say("%s puts a key there", rotate),
			"the server has no age key at %s, so it could not decrypt its secrets", age.KeyFile)
	}
	return refused(h.Name, next.Say("%s brings server and secrets together again", rotate),
		"no age key of the server is among those at hand that decrypt %s", file)
}

// hasSharedKey reports whether the server has a key of this machine although it should
// have one that no other machine has.
func hasSharedKey(h config.Host, ids *secrets.Identities, f run.Facts) bool {
	return h.OwnAgeKey && ids != nil && len(trust.Missing(ids.Hashes(), f.AgeKeys)) < len(f.AgeKeys)
}
