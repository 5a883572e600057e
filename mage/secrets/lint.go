package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/getsops/sops/v3"
	"go.yaml.in/yaml/v3"
)

// readPlain parses what a person wrote. Problems are things that sops would
// change without a word; they are no errors.
func readPlain(data []byte, store sops.Store) (branches sops.TreeBranches, problems []string, err error) {
	var parsed []*yaml.Node
	if isYAML(store) {
		if parsed, err = documents(data); err != nil {
			return nil, nil, fmt.Errorf("not valid YAML: %w", scrub(err))
		}
	}
	err = guard(func() error {
		branches, err = store.LoadPlainFile(data)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("not valid %s: %w", storeName(store), scrub(err))
	}
	if err := checkPlain(branches); err != nil {
		return nil, nil, err
	}
	if moveListComments(branches) {
		problems = append(problems, "a comment beside an element of a list will be moved to a line of its own: sops keeps it nowhere else")
	}
	for _, document := range parsed {
		eachNode(document, func(node *yaml.Node) { problems = append(problems, nodeProblems(node)...) })
	}
	return branches, problems, nil
}

// moveListComments makes comments beside elements of lists ones above them, and
// reports whether there were any. sops forgets where they were.
func moveListComments(value any) (moved bool) {
	switch value := value.(type) {
	case sops.TreeBranches:
		for _, branch := range value {
			moved = moveListComments(branch) || moved
		}
	case sops.TreeBranch:
		for _, item := range value {
			moved = moveListComments(item.Value) || moved
		}
	case []any:
		for i, item := range value {
			comment, ok := item.(sops.Comment)
			if !ok || !comment.Inline {
				moved = moveListComments(item) || moved
				continue
			}
			value[i], moved = sops.Comment{Value: comment.Value}, true
			if _, is := before(value, i).(sops.Comment); i > 0 && !is {
				value[i-1], value[i] = value[i], value[i-1]
			}
		}
	}
	return moved
}

func before(list []any, i int) any {
	if i == 0 {
		return nil
	}
	return list[i-1]
}

func checkPlain(branches sops.TreeBranches) error {
	if len(branches) == 0 || len(branches[0]) == 0 {
		return fmt.Errorf("the file is empty")
	}
	for _, branch := range branches {
		for _, item := range branch {
			if item.Key == "sops" {
				return fmt.Errorf("the name \"sops\" belongs to sops")
			}
		}
	}
	return checkKeys(branches)
}

// checkKeys finds keys that are no text, which sops cannot encrypt.
func checkKeys(value any) error {
	switch value := value.(type) {
	case sops.TreeBranches:
		for _, branch := range value {
			if err := checkKeys(branch); err != nil {
				return err
			}
		}
	case sops.TreeBranch:
		for _, item := range value {
			switch item.Key.(type) {
			case string, sops.Comment:
			default:
				return fmt.Errorf("the key %v is not text; put it in quotes", item.Key)
			}
			if err := checkKeys(item.Value); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range value {
			if err := checkKeys(item); err != nil {
				return err
			}
		}
	case uint64:
		return fmt.Errorf("the number %d is too large for sops; put it in quotes", value)
	}
	return nil
}

// nodeProblems never repeats a value.
func nodeProblems(node *yaml.Node) []string {
	switch {
	case node.Kind == yaml.AliasNode:
		return []string{fmt.Sprintf("line %d: the alias *%s will be replaced by a copy of what it stands for", node.Line, node.Value)}
	case node.Anchor != "":
		return []string{fmt.Sprintf("line %d: the anchor &%s will be lost", node.Line, node.Anchor)}
	case node.Kind == yaml.ScalarNode && node.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(node.Tag, "!!"):
		return []string{fmt.Sprintf("line %d: the tag %s will be lost", node.Line, node.Tag)}
	case node.Kind == yaml.ScalarNode && node.Style == 0 && changes(node):
		return []string{fmt.Sprintf("line %d: this number or time will be written differently; put it in quotes to keep it as it is", node.Line)}
	}
	return nil
}

// changes reports whether a number or time comes back from sops as other text:
// large integers become floats, 007 becomes 7, 1.10 becomes 1.1.
func changes(node *yaml.Node) bool {
	switch node.ShortTag() {
	case "!!int", "!!float", "!!timestamp":
	default:
		return false
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return true
	}
	var again yaml.Node
	if err := again.Encode(value); err != nil {
		return true
	}
	return again.Value != node.Value
}

// documents parses every document and refuses aliases that nest without end or
// multiply: sops' loader guards only the first document against them, and would
// overflow the stack, which nothing can catch.
func documents(data []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var out []*yaml.Node
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var ignored any
		if err := node.Decode(&ignored); err != nil {
			return nil, err
		}
		out = append(out, &node)
	}
}

// hasAlias reports whether data cannot be parsed or has an alias.
func hasAlias(data []byte) bool {
	parsed, err := documents(data)
	if err != nil {
		return true
	}
	found := false
	for _, document := range parsed {
		eachNode(document, func(node *yaml.Node) { found = found || node.Kind == yaml.AliasNode })
	}
	return found
}

// eachNode visits every node once and does not follow aliases.
func eachNode(node *yaml.Node, visit func(*yaml.Node)) {
	visit(node)
	for _, child := range node.Content {
		eachNode(child, visit)
	}
}

// storeName is what a person calls a format.
func storeName(store sops.Store) string {
	if isYAML(store) {
		return "YAML"
	}
	return store.Name()
}
