package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dagadbm/vps/mage/internal/next"
)

// ciphertext is how sops writes an encrypted value.
var ciphertext = regexp.MustCompile(`^ENC\[AES256_GCM,data:[^,]*,iv:[^,]+,tag:[^,]+,type:[a-z]+\]$`)

// checkSecrets takes a structural look at secrets.yaml: it is encrypted for
// somebody, and no value in it is plain unless its own rules say so. Whether
// the ciphertext is genuine is for package secrets to find out.
func checkSecrets(data []byte) error {
	root, err := oneDocument(data)
	if err != nil {
		return secretsError(0, err.Error())
	}
	meta := child(root, "sops")
	if meta == nil || meta.Kind != yaml.MappingNode {
		return secretsError(0, "it is not encrypted: there is no sops section")
	}
	if !ciphertext.MatchString(text(child(meta, "mac"))) {
		return secretsError(meta.Line, "its sops section has no encrypted mac")
	}
	if !hasRecipient(meta) {
		return secretsError(meta.Line, "its sops section names nobody who can decrypt it")
	}
	rule, err := readRule(meta)
	if err != nil {
		return secretsError(meta.Line, err.Error())
	}
	return checkValues(root, meta, rule)
}

func secretsError(line int, reason string) error {
	return &Error{
		Path:   secretsFile,
		Line:   line,
		Reason: reason,
		Next: next.Say("restore the last good version from git and change it with %s; without one, move the file away, "+
			"run %s and enter each value with %s",
			next.Target("secrets:edit"), next.Target("secrets:init"), next.Target("secrets:set")),
	}
}

// oneDocument reads a YAML file that is one mapping. Programs that read the
// file take the first document only, so a second one is a mistake.
func oneDocument(data []byte) (*yaml.Node, error) {
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		// The parser may quote the text that it stumbles over: a secret.
		return nil, errors.New("it is not valid YAML")
	}
	if d.Decode(&more) != io.EOF {
		return nil, errors.New("it is more than one YAML document")
	}
	if len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode {
		return doc.Content[0], nil
	}
	return nil, errors.New("it is not a mapping of names to secrets")
}

// recipientLists are the keys of the sops section that list who can decrypt.
var recipientLists = []string{"age", "pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault"}

func hasRecipient(meta *yaml.Node) bool {
	for _, name := range recipientLists {
		if list := child(meta, name); list != nil && list.Kind == yaml.SequenceNode && len(list.Content) > 0 {
			return true
		}
	}
	groups := child(meta, "key_groups")
	if groups == nil || groups.Kind != yaml.SequenceNode {
		return false
	}
	for _, group := range groups.Content {
		if hasRecipient(group) {
			return true
		}
	}
	return false
}

// checkValues walks all values outside the sops section. A second section of
// that name is a value like any other.
func checkValues(root, meta *yaml.Node, rule rule) error {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i+1] == meta {
			continue
		}
		if err := checkPair(root, i, rule, false); err != nil {
			return err
		}
	}
	return nil
}

// checkPair looks at the i-th node of a mapping and its value. named says
// whether a key above it already meets the rule.
func checkPair(m *yaml.Node, i int, rule rule, named bool) error {
	key, value := m.Content[i], m.Content[i+1]
	named = named || rule.names(key.Value) || rule.comments(commentsAbove(m.Content, i, 2))
	return checkValue(value, rule, named, key.Value)
}

func checkValue(v *yaml.Node, rule rule, named bool, name string) error {
	switch v.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(v.Content); i += 2 {
			if err := checkPair(v, i, rule, named); err != nil {
				return err
			}
		}
		return nil
	case yaml.SequenceNode:
		for i, item := range v.Content {
			if err := checkValue(item, rule, named || rule.comments(commentsAbove(v.Content, i, 1)), name); err != nil {
				return err
			}
		}
		return nil
	case yaml.ScalarNode:
		// sops leaves what is empty as it is.
		if v.Value == "" || v.Tag == "!!null" || named == rule.plain || ciphertext.MatchString(v.Value) {
			return nil
		}
		return secretsError(v.Line, fmt.Sprintf("the value of %q is not encrypted", name))
	}
	return secretsError(v.Line, fmt.Sprintf("the value of %q is an alias, which sops does not write", name))
}

// child gives the value of a key of a mapping, or nil.
func child(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// commentsAbove gives the comments that sops would take for those of the i-th
// node: its own, and what ends the one before it.
func commentsAbove(nodes []*yaml.Node, i, step int) string {
	all := []string{nodes[i].HeadComment, nodes[i].LineComment}
	if i >= step {
		all = append(all, nodes[i-step].FootComment)
	}
	return strings.TrimSpace(strings.Join(all, "\n"))
}
