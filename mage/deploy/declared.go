package deploy

import (
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
)

// Declared gives what nix/ declares in the form that package secrets takes,
// without those secrets that lie in encrypted files of their own.
func Declared(list []facts.Declared) []secrets.Declared {
	var out []secrets.Declared
	for _, d := range list {
		if !d.OtherFile {
			out = append(out, secrets.Declared{Name: d.Name, Key: d.Key, Path: d.Path, Owner: d.Owner,
				Mode: d.Mode, NeededForUsers: d.NeededForUsers})
		}
	}
	return out
}

// refuseMissing: a system whose declared secret is not in secrets.yaml fails
// when it is activated.
func (p *Project) refuseMissing(host string, declared []facts.Declared) error {
	list, err := secrets.List(p.Dir, Declared(declared))
	if err != nil {
		return usage(err)
	}
	var missing []string
	for _, l := range list {
		if l.Declared && !l.Present {
			missing = append(missing, l.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &Failure{Host: host, Code: CodeUsage, Now: "nothing was changed", Next: next.Target("secrets:set", missing[0]),
		Err: fmt.Errorf("%s lacks what nix/ declares: %s", secretsPath, strings.Join(missing, ", "))}
}
