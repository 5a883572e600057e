package secrets

import (
	"cmp"
	"slices"
	"strings"
)

// declared compares with what nix/ asks for.
func (c *checking) declared(report *Report) {
	switch {
	case c.DeclaredErr != nil:
		c.add("declared names", Skipped, hintOf(c.DeclaredErr), "nix/ could not be read: %v", c.DeclaredErr)
		return
	case report == nil:
		c.add("declared names", Skipped, "", "secrets.yaml could not be read")
		return
	}
	var faults []string
	var remedy string
	for _, d := range c.Declared {
		if fault := report.faultOf(d); fault != "" {
			faults = append(faults, formatName(d.path())+" "+fault)
			remedy = cmp.Or(remedy, setCommand(formatName(d.path())))
		}
	}
	for _, name := range report.Names {
		if !slices.ContainsFunc(c.Declared, func(d Declared) bool { return covers(d, name) }) {
			faults = append(faults, name+" is not declared in nix/")
		}
	}
	if len(faults) > 0 {
		c.add("declared names", Fail, cmp.Or(remedy, "Declare it in nix/modules/sops.nix, or remove it with `mage secrets:edit`."),
			"%s", strings.Join(faults, ", "))
		return
	}
	c.add("declared names", Pass, "", "all %d are there and none too many", len(c.Declared))
}

// setCommand sets a secret: the login key from where it most often is.
func setCommand(name string) string {
	if name == sshKeyName {
		return "mage secrets:set ssh-public-key -file=~/.ssh/id_ed25519.pub"
	}
	return "mage secrets:set " + name
}

// faultOf says what is wrong with a declared secret.
func (r *Report) faultOf(d Declared) string {
	value, err := lookup(first(r.values), d.path())
	switch text, isText := value.(string); {
	case err != nil:
		return "is missing"
	case !isText:
		return "is not text, and sops-nix takes only text"
	case text == "":
		return "is empty"
	case slices.Contains(r.Plain, formatName(d.path())):
		return "is in plain text"
	}
	return ""
}

func (c *checking) sshKey(report *Report) {
	if report == nil {
		c.add(sshKeyName, Skipped, "", "secrets.yaml could not be read")
		return
	}
	value, err := lookup(first(report.values), []string{sshKeyName})
	text, isText := value.(string)
	if err != nil || !isText {
		c.add(sshKeyName, Skipped, "", "not in secrets.yaml")
		return
	}
	keys, err := parsePublicKeys([]byte(text))
	switch {
	case err != nil:
		c.add(sshKeyName, Fail, "Run `mage secrets:set ssh-public-key -file=~/.ssh/id_ed25519.pub`: with a wrong one nobody can log in.", "%v", err)
	case strings.Contains(text, exampleSSHPublicKey) && !c.sample:
		c.add(sshKeyName, Fail, "Run `mage secrets:set ssh-public-key -file=~/.ssh/id_ed25519.pub`.", "is the example, for which there is no private key")
	default:
		c.add(sshKeyName, Pass, "", "%d that sshd can read", len(keys))
	}
}
