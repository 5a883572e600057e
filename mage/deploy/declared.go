package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/tree"
	"github.com/dagadbm/vps/mage/secrets"
)

// declared gives declared secrets in the form that package secrets takes, by their
// files in the project and each once, without those that lie outside of the tree.
func (p *Project) declared(layout tree.Project, list []facts.Secret) []secrets.Declared {
	var out []secrets.Declared
	for _, d := range list {
		if d.InTree() {
			declared := secrets.Declared{Name: d.Name, File: sourceOf(layout, d.File), Key: d.Key, Whole: d.Key == "" || d.Format == "binary",
				Path: d.Path, Owner: d.Owner, Mode: d.Mode, NeededForUsers: d.NeededForUsers}
			if !slices.Contains(out, declared) { // by several hosts
				out = append(out, declared)
			}
		}
	}
	return out
}

// sourceOf names the file of the project that is at a path of the tree. One that is
// not there is expected where its folder is: secrets/ is beside the flake's folder.
func sourceOf(layout tree.Project, file string) string {
	source := layout.Source(file)
	there := func(name string) bool { return exists(filepath.Join(layout.Dir, filepath.FromSlash(name))) }
	if source != file && !there(source) && !there(path.Dir(source)) && there(path.Dir(file)) {
		return file
	}
	return source
}

// DeclaredSecrets gives the secrets that the configuration of the project in dir
// declares, as the last evaluation on this machine had them. asOf
// is the time of that evaluation if the tree was changed since, else zero. Where
// there was none it is an error: they are unknown.
func (p *Project) DeclaredSecrets(ctx context.Context) (list []secrets.Declared, asOf time.Time, err error) {
	kept, digest := facts.LoadKept(p.Dir), ""
	layout, err := p.source(ctx)
	if err != nil {
		return nil, asOf, err
	}
	if t, err := layout.Collect(ctx); err == nil {
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
		return p.declared(layout, all), asOf, nil
	}
	if shipped, ok := facts.Shipped(func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(p.flakeFile(name))))
	}); ok {
		return p.declared(layout, shipped), asOf, nil
	}
	return nil, asOf, next.With(errors.New("which secrets nix/ declares is unknown: it was not evaluated here yet"),
		next.Say("%s finds out", next.Target("check")))
}

// refuseMissing: a system whose declared secret is not in its sops file, or whose
// sops file is not in the tree, fails when it is built or activated.
func (p *Project) refuseMissing(ctx context.Context, host string, t *tree.Tree, declared []facts.Secret) error {
	layout, err := p.source(ctx)
	if err != nil {
		return usage(err)
	}
	here := facts.Host{Secrets: declared}
	for _, file := range here.Files() {
		if err := p.refuseFile(layout, host, t, file, here.SecretsIn(file)); err != nil {
			return err
		}
	}
	return nil
}

// refuseFile looks at one sops file of the tree, and at what is declared in it.
func (p *Project) refuseFile(layout tree.Project, host string, t *tree.Tree, file string, declared []facts.Secret) error {
	refuse := func(err error, step next.Step) error {
		return &Failure{Host: host, Code: CodeUsage, Now: "nothing was changed", Err: err, Next: step}
	}
	source := sourceOf(layout, file)
	data, deployed := t.File(file)
	switch {
	case !deployed:
		err := lacksFile(layout, source, declared)
		return refuse(err, next.Of(err))
	case !secrets.Encrypted(source, data):
		return refuse(fmt.Errorf("nix/ takes %s from %s, which is not encrypted", secretNames(declared), source),
			next.Say("encrypt it: %s", next.Shell("sops", "encrypt", "--in-place", source)))
	}
	list := p.declared(layout, declared)
	if !slices.ContainsFunc(list, func(d secrets.Declared) bool { return !d.Whole }) {
		return nil
	}
	names, err := secrets.Project{Dir: p.Dir, File: source}.List(list)
	if err != nil {
		return usage(err)
	}
	var missing []string
	for _, l := range names {
		if l.Declared && !l.Present {
			missing = append(missing, l.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return refuse(fmt.Errorf("%s lacks what nix/ declares: %s", source, strings.Join(missing, ", ")), setSecret(missing[0], source))
}

// lacksFile says that a sops file is not deployed, and what to do about it.
func lacksFile(layout tree.Project, source string, declared []facts.Secret) error {
	if exists(filepath.Join(layout.Dir, filepath.FromSlash(source))) {
		return next.With(fmt.Errorf("nix/ takes %s from %s, which is not deployed: git ignores it, it is not encrypted, or no rule of .sops.yaml matches it", secretNames(declared), source),
			next.Words("encrypt it with sops, by a rule of .sops.yaml, and let git have it"))
	}
	step := next.Say("restore it with git, or make it: %s", next.Shell("sops", "edit", source))
	if source == secretsPath {
		step = next.Target("secrets:init")
	}
	return next.With(fmt.Errorf("nix/ takes %s from %s, and there is no such file", secretNames(declared), source), step)
}

// secretNames are the names of secrets for a person.
func secretNames(list []facts.Secret) string {
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// setSecret is how a secret of one file is set.
func setSecret(name, file string) next.Step {
	if file == secretsPath {
		return next.Target("secrets:set", name)
	}
	return next.Target("secrets:set", name, "-file="+file)
}
