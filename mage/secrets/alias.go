package secrets

import (
	"bytes"
	"errors"
	"io"

	"go.yaml.in/yaml/v3"
)

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
