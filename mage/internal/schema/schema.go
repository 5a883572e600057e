// Package schema makes the JSON schema of vps.yaml from the types that it is read
// into, so that editors complete and check it. docs/vps.schema.json holds it.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/dagadbm/vps/mage/internal/config"
)

// node is a JSON schema.
type node map[string]any

// detail is what a type does not say of a field: what it is for, and which values
// it takes.
type detail struct {
	text string
	more node
}

// details are by the field's path in vps.yaml; * is any name.
var details = map[string]detail{
	"nix":               {text: "Folder with flake.nix, which is deployed; . is the project's own.", more: node{"default": config.DefaultNix}},
	"hosts":             {text: "The servers, by the names that targets call them."},
	"hosts.*.address":   {text: "Name, IPv4 or IPv6 address; else what ~/.ssh/config has for the name."},
	"hosts.*.port":      {text: "SSH port once NixOS runs.", more: node{"minimum": 1, "maximum": 65535, "default": config.DefaultPort}},
	"hosts.*.user":      {text: "root, or a user with passwordless sudo, doas or run0.", more: node{"default": config.DefaultUser}},
	"hosts.*.identity":  {text: "Private key file; else ~/.ssh/config, the agent, the usual keys."},
	"hosts.*.system":    {text: "Processor; else asked from the server.", more: node{"enum": []string{"x86", "arm"}}},
	"hosts.*.flake":     {text: "Output of nix/flake.nix; else vps-x86 or vps-arm."},
	"hosts.*.tags":      {text: "Groups of servers, as in: update @prod.", more: node{"uniqueItems": true}},
	"hosts.*.ageKey":    {text: "own: the server gets an age key that no other machine has; shared: that of this machine.", more: node{"enum": []string{"own", "shared"}, "default": "shared"}},
	"hosts.*.hostKey":   {text: "Pinned SSH host key, \"ssh-ed25519 AAAA…\": no other one is accepted."},
	"install":           {text: "How bootstrap installs."},
	"install.image":     {text: "Container image that holds Nix, 2.30 or newer.", more: node{"default": config.DefaultImage}},
	"install.engine":    {text: "Program that runs containers.", more: node{"enum": []string{"docker", "podman"}, "default": config.DefaultEngine}},
	"install.network":   {text: "Network of the engine's that containers join, such as host; else its default."},
	"install.kexec":     {text: "Image to boot in place of the installer's own.", more: node{"required": []string{"url", "sha256"}}},
	"install.kexec.url": {text: "Where it is, by http or https.", more: node{"pattern": "^https?://"}},
	"install.kexec.sha256": {text: "Its hash, 64 hexadecimal digits.",
		more: node{"pattern": "^[0-9A-Fa-f]{64}$"}},
	"install.deadlines":   {text: "How long a phase of the install may take."},
	"install.deadlines.*": {text: "Such as 30m."},
	"install.diskKeys":    {text: "Secrets that hold the keys of encrypted disks, by the path at which disko reads them."},
	"install.diskKeys.*":  {text: "Name of the secret."},
	"signers":             {text: "File of allowed signers: update deploys only commits that one of them signed, with an SSH key."},
}

// notInFile are the fields that parsing fills.
var notInFile = map[string]bool{"path": true, "hosts.*.name": true, "hosts.*.line": true}

// JSON is the schema of vps.yaml. It fails when a field has no detail, or a detail
// no field.
func JSON() ([]byte, error) {
	g := &generator{used: map[string]bool{}}
	root := g.object("", reflect.TypeFor[config.Config]())
	for path := range details {
		if !g.used[path] {
			g.problems = append(g.problems, "no field for the detail "+path)
		}
	}
	if len(g.problems) > 0 {
		return nil, fmt.Errorf("schema of vps.yaml: %s", strings.Join(g.problems, "; "))
	}
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "vps.yaml"
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(root)
	return b.Bytes(), err
}

type generator struct {
	used     map[string]bool
	problems []string
}

// object is the schema of a struct. As in vps.yaml, no other keys are allowed,
// and a key without a value is one that is not there.
func (g *generator) object(path string, t reflect.Type) node {
	properties := node{}
	for i := range t.NumField() {
		name := key(t.Field(i).Name)
		at := strings.TrimPrefix(path+"."+name, ".")
		if !notInFile[at] {
			properties[name] = g.field(at, t.Field(i).Type)
		}
	}
	return node{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

func (g *generator) field(path string, t reflect.Type) node {
	n := g.kind(path, t)
	d, ok := details[path]
	if !ok {
		g.problems = append(g.problems, "no detail for the field "+path)
	}
	g.used[path] = true
	n["description"] = d.text
	for k, v := range d.more {
		n[k] = v
	}
	return n
}

func (g *generator) kind(path string, t reflect.Type) node {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return node{"type": "string"}
	case t.Kind() == reflect.String:
		return node{"type": "string"}
	case t.Kind() == reflect.Int:
		return node{"type": "integer"}
	case t.Kind() == reflect.Pointer:
		return g.kind(path, t.Elem())
	case t.Kind() == reflect.Struct:
		return g.object(path, t)
	case t.Kind() == reflect.Map:
		return g.named(g.field(path+".*", t.Elem()))
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return g.named(g.object(path+".*", t.Elem()))
	case t.Kind() == reflect.Slice:
		return node{"type": "array", "items": g.kind(path, t.Elem())}
	}
	g.problems = append(g.problems, fmt.Sprintf("%s has the type %v", path, t))
	return node{}
}

// named is a map from names to values.
func (g *generator) named(value node) node {
	return node{"type": []string{"object", "null"}, "additionalProperties": value}
}

// key is a field's name as vps.yaml writes it: hostKey, url, sha256.
func key(field string) string {
	runes := []rune(field)
	for i := range runes {
		if i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1]) {
			break
		}
		runes[i] = unicode.ToLower(runes[i])
	}
	return string(runes)
}
