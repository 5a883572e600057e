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

// declared gives the secrets of hosts, each once, by their files in the project and not
// in the tree, without those that lie outside of both.
func declared(layout tree.Project, list []secrets.Declared) []secrets.Declared {
	var out []secrets.Declared
	for _, d := range list {
		if !d.InTree() {
			continue
		}
		d.File = sourceOf(layout, d.File)
		if !slices.Contains(out, d) {
			out = append(out, d)
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
	var all []secrets.Declared
	for _, output := range kept.Known() {
		h, when, _ := kept.AsOf(output)
		if _, current := kept.Host(output, digest); !current && (asOf.IsZero() || when.Before(asOf)) {
			asOf = when
		}
		all = append(all, h.Secrets...)
	}
	if len(kept.Known()) > 0 {
		return declared(layout, all), asOf, nil
	}
	if shipped, ok := facts.Shipped(func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(p.flakeFile(name))))
	}); ok {
		return declared(layout, shipped), asOf, nil
	}
	return nil, asOf, next.With(errors.New("which secrets nix/ declares is unknown: it was not evaluated here yet"),
		next.Say("%s finds out", next.Target("check")))
}

// refuseMissing: a system whose declared secret is not in its sops file, or whose
// sops file is not in the tree, fails when it is built or activated.
func (p *Project) refuseMissing(ctx context.Context, host string, t *tree.Tree, wanted []secrets.Declared) error {
	layout, err := p.source(ctx)
	if err != nil {
		return usage(err)
	}
	here := facts.Host{Secrets: wanted}
	for _, file := range here.Files() {
		if err := p.refuseFile(layout, host, t, file, here.SecretsIn(file)); err != nil {
			return err
		}
	}
	return nil
}

// refuseFile looks at one sops file of the tree, and at what is declared in it.
func (p *Project) refuseFile(layout tree.Project, host string, t *tree.Tree, file string, wanted []secrets.Declared) error {
	refuse := func(err error, step next.Step) error {
		return &Failure{Host: host, Code: CodeUsage, Now: "nothing was changed", Err: err, Next: step}
	}
	source := sourceOf(layout, file)
	data, deployed := t.File(file)
	switch {
	case !deployed:
		err := lacksFile(layout, source, wanted)
		return refuse(err, next.Of(err))
	case !secrets.Encrypted(source, data):
		return refuse(fmt.Errorf("nix/ takes %s from %s, which is not encrypted", secretNames(wanted), source),
			next.Say("encrypt it: %s", next.Shell("sops", "encrypt", "--in-place", source)))
	}
	if !secrets.Readable(source, data) {
		return nil // a format that its ending does not tell: the server finds out
	}
	list := declared(layout, wanted)
	if !slices.ContainsFunc(list, func(d secrets.Declared) bool { return !d.Whole() }) {
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
func lacksFile(layout tree.Project, source string, wanted []secrets.Declared) error {
	if exists(filepath.Join(layout.Dir, filepath.FromSlash(source))) {
		return next.With(fmt.Errorf("nix/ takes %s from %s, which is not deployed: git ignores it, it is not encrypted, or no rule of .sops.yaml matches it", secretNames(wanted), source),
			next.Words("encrypt it with sops, by a rule of .sops.yaml, and let git have it"))
	}
	step := next.Say("restore it with git, or make it: %s", next.Shell("sops", "edit", source))
	if source == secretsPath {
		step = next.Target("secrets:init")
	}
	return next.With(fmt.Errorf("nix/ takes %s from %s, and there is no such file", secretNames(wanted), source), step)
}

// secretNames are the names of secrets for a person.
func secretNames(list []secrets.Declared) string {
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
