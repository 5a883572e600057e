package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/secrets"
)

// Declared gives declared secrets in the form that package secrets takes, without
// those that lie outside of the tree.
func Declared(list []facts.Secret) []secrets.Declared {
	var out []secrets.Declared
	for _, d := range list {
		if d.InTree() {
			declared := secrets.Declared{Name: d.Name, File: d.File, Key: d.Key, Whole: d.Key == "" || d.Format == "binary",
				Path: d.Path, Owner: d.Owner, Mode: d.Mode, NeededForUsers: d.NeededForUsers}
			if !slices.Contains(out, declared) { // by several hosts
				out = append(out, declared)
			}
		}
	}
	return out
}

// DeclaredSecrets gives the secrets that the configuration of the project in dir
// declares, as the last evaluation on this machine had them. asOf
// is the time of that evaluation if the tree was changed since, else zero. Where
// there was none it is an error: they are unknown.
func (p *Project) DeclaredSecrets(ctx context.Context) (list []secrets.Declared, asOf time.Time, err error) {
	kept, digest := facts.LoadKept(p.Dir), ""
	if t, err := p.collect(ctx); err == nil {
		digest = t.Manifest().Digest()
	}
	var all []facts.Secret
	for _, output := range kept.Known() {
		h, when, _ := kept.AsOf(output)
		if _, current := kept.Host(output, digest); !current && (asOf.IsZero() || when.Before(asOf)) {
			asOf = when
		}
		all = append(all, h.Secrets...)
	}
	if len(kept.Known()) > 0 {
		return Declared(all), asOf, nil
	}
	if shipped, ok := facts.Shipped(func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(p.flakeFile(name))))
	}); ok {
		return Declared(shipped), asOf, nil
	}
	return nil, asOf, next.With(errors.New("which secrets nix/ declares is unknown: it was not evaluated here yet"),
		next.Say("%s finds out", next.Target("check")))
}

// refuseMissing: a system whose declared secret is not in secrets.yaml fails
// when it is activated.
func (p *Project) refuseMissing(ctx context.Context, host string, declared []facts.Secret) error {
	list, err := secrets.List(ctx, p.Dir, Declared(declared))
	if err != nil {
		return usage(err)
	}
	var missing []string
	var file string
	for _, l := range list {
		if l.Declared && !l.Present && (file == "" || l.File == file) {
			missing, file = append(missing, l.Name), l.File
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &Failure{Host: host, Code: CodeUsage, Now: "nothing was changed", Next: setSecret(missing[0], file),
		Err: fmt.Errorf("%s lacks what nix/ declares: %s", file, strings.Join(missing, ", "))}
}

// setSecret is how a secret of one file is set.
func setSecret(name, file string) next.Step {
	if file == secretsPath {
		return next.Target("secrets:set", name)
	}
	return next.Target("secrets:set", name, "-file="+file)
}
