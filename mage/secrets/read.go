package secrets

import (
	"fmt"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"
)

// Get decrypts one value of the project in dir. It is text exactly as it was
// set; a number, boolean or time is the text that sops-nix would write. The
// error wraps [ErrUnknownName] where there is no such name.
func Get(dir string, ids *Identities, name string) (string, error) {
	path, err := parseName(name)
	if err != nil {
		return "", err
	}
	data, err := readFile(Project{dir}.SecretsFile())
	if err != nil {
		return "", err
	}
	f, err := openHinted(data, ids, config.NewStoresConfig(), Project{dir}.SecretsFile())
	if err != nil {
		return "", err
	}
	return f.get(path)
}

func (f *file) get(path []string) (string, error) {
	value, err := lookup(first(f.tree.Branches), path)
	if err != nil {
		return "", fail(err, "Run `mage secrets:list` for the names there are.", "looking up %q", formatName(path))
	}
	switch value := value.(type) {
	case sops.TreeBranch, []any:
		var below []string
		eachLeaf(value, path, func(path []string, _ any) { below = append(below, formatName(path)) })
		return "", fail(nil, "Ask for one of them.", "%q is not one value but %d: %s", formatName(path), len(below), strings.Join(below, ", "))
	case nil:
		return "", nil
	default:
		text, err := sops.ToBytes(value)
		if err != nil {
			return "", fmt.Errorf("reading %q: %w", formatName(path), err)
		}
		if flag, ok := value.(bool); ok {
			return fmt.Sprint(flag), nil
		}
		return string(text), nil
	}
}

// Names lists the names in the file of the project in dir, in their order. It
// needs no key, and so proves nothing about the file.
func Names(dir string) ([]string, error) {
	data, err := readFile(Project{dir}.SecretsFile())
	if err != nil {
		return nil, err
	}
	return NamesBytes(data)
}

// NamesBytes is [Names] for a file that is already in memory.
func NamesBytes(data []byte) ([]string, error) {
	tree, err := parse(data, sopsyaml.NewStore(&config.NewStoresConfig().YAML))
	if err != nil {
		return nil, fail(err, "Run `mage secrets:check`.", "reading the names in secrets.yaml")
	}
	return names(tree.Branches), nil
}
