// Package childenv is the environment that programs are started with: without
// what opens the secrets. An editor runs plugins, ssh runs commands of its
// configuration, and every process of the same user may be looked into.
package childenv

import (
	"os"
	"slices"
	"strings"
)

// keys are the variables that hold an age key or say how to come by one.
// SOPS_AGE_KEY_FILE is a path, and still nobody's business.
const keys = "SOPS_AGE_"

// Clean is the environment of this process without keys.
func Clean() []string { return Without(os.Environ()) }

// Without is a copy of environ without keys.
func Without(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return strings.HasPrefix(entry, keys) })
}
