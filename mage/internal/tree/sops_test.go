package tree

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretsWith is a file with the given values and further lines in its sops
// section.
func secretsWith(values, rules string) string {
	return values + "sops:\n    age:\n        - recipient: age1x\n          enc: x\n    mac: " + enc + "\n" + rules
}

func TestCheckSecretsAccepts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"the usual":           sealed,
		"no values":           secretsWith("", ""),
		"nested":              secretsWith("a:\n  b:\n    - "+enc+"\n    - c: "+enc+"\n", ""),
		"null and empty":      secretsWith("a: null\nb: ~\nc:\nd: \"\"\ne: {}\nf: []\n", ""),
		"default suffix":      secretsWith("a_unencrypted:\n  b: [1, two]\n", ""),
		"unencrypted suffix":  secretsWith("a_plain: x\nb: "+enc+"\n", "    unencrypted_suffix: _plain\n"),
		"encrypted suffix":    secretsWith("a: x\nb_secret: "+enc+"\n", "    encrypted_suffix: _secret\n"),
		"unencrypted regex":   secretsWith("name: x\nb: "+enc+"\n", "    unencrypted_regex: ^name$\n"),
		"encrypted regex":     secretsWith("name: x\ndata:\n  y: "+enc+"\n", "    encrypted_regex: ^data$\n"),
		"unencrypted comment": secretsWith("# plain please\na: x\nb: "+enc+"\n", "    unencrypted_comment_regex: plain\n"),
		"encrypted comment":   secretsWith("a: x\n# secret\nb: "+enc+"\n", "    encrypted_comment_regex: secret\n"),
		"in a list":           secretsWith("a:\n  # plain\n  - x\n  - "+enc+"\n", "    unencrypted_comment_regex: plain\n"),
		"key groups":          strings.Replace(sealed, "    age:\n        - recipient: age1example\n          enc: x\n", "    key_groups:\n        - pgp:\n            - fp: x\n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.NoError(t, checkSecrets([]byte(text)))
		})
	}
}

func TestCheckSecretsRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, reason string
		line         int
	}{
		"empty":             {"", "empty", 0},
		"only a comment":    {"# hunter2\n", "it is empty", 0},
		"not YAML":          {"a: [hunter2\n", "not valid YAML", 0},
		"a list":            {"- hunter2\n", "not a mapping", 0},
		"plain":             {"a: hunter2\n", "no sops section", 0},
		"sops is text":      {"a: hunter2\nsops: yes\n", "no sops section", 0},
		"no mac":            {strings.Replace(sealed, "    mac: "+enc+"\n", "", 1), "no encrypted mac", 4},
		"plain mac":         {strings.Replace(sealed, "mac: "+enc, "mac: abc", 1), "no encrypted mac", 4},
		"no recipient":      {strings.Replace(sealed, "        - recipient: age1example\n          enc: x\n", "        []\n", 1), "nobody who can decrypt", 4},
		"one plain":         {secretsWith("a: "+enc+"\nb: hunter2\n", ""), `the value of "b" is not encrypted`, 2},
		"a number":          {secretsWith("a: 42\n", ""), `"a" is not encrypted`, 1},
		"nearly encrypted":  {secretsWith("a: "+enc+"hunter2\n", ""), `"a" is not encrypted`, 1},
		"deep":              {secretsWith("a:\n  b:\n    - c: hunter2\n", ""), `"c" is not encrypted`, 3},
		"in a list":         {secretsWith("a:\n  - "+enc+"\n  - hunter2\n", ""), `"a" is not encrypted`, 3},
		"second sops":       {secretsWith("", "") + "sops: hunter2\n", `"sops" is not encrypted`, 6},
		"second document":   {sealed + "---\na: hunter2\n", "more than one YAML document", 0},
		"broken second":     {sealed + "---\na: [hunter2\n", "more than one YAML document", 0},
		"alias":             {secretsWith("a: &x "+enc+"\nb: *x\n", ""), "alias", 2},
		"suffix of another": {secretsWith("a_unencrypted: hunter2\n", "    unencrypted_suffix: _plain\n"), "not encrypted", 1},
		"encrypted suffix":  {secretsWith("a_secret: hunter2\n", "    encrypted_suffix: _secret\n"), "not encrypted", 1},
		"encrypted regex":   {secretsWith("data:\n  y: hunter2\n", "    encrypted_regex: ^data$\n"), "not encrypted", 2},
		"unencrypted regex": {secretsWith("names: hunter2\n", "    unencrypted_regex: ^name$\n"), "not encrypted", 1},
		"encrypted comment": {secretsWith("# secret\na: hunter2\n", "    encrypted_comment_regex: secret\n"), "not encrypted", 2},
		"another's comment": {secretsWith("# plain\na: x\nb: hunter2\n", "    unencrypted_comment_regex: plain\n"), `"b" is not encrypted`, 3},
		"broken regex":      {secretsWith("", "    encrypted_regex: '['\n"), "not a regular expression", 2},
		"two rules":         {secretsWith("", "    encrypted_regex: a\n    encrypted_suffix: b\n"), "more than one rule", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkSecrets([]byte(c.text))
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.Reason, c.reason)
			assert.Equal(t, c.line, e.Line)
			assert.NotContains(t, e.Error(), "hunter2")
		})
	}
}

// Whatever the file is, the check ends, and it does not quote the file's values:
// they may be secrets.
func FuzzCheckSecrets(f *testing.F) {
	f.Add(sealed)
	f.Add("a: hunter2\n")
	f.Add("# only a comment\n")
	f.Add("a: &a [*a]\n")
	f.Add("? {x: y}\n: z\nsops: {mac: " + enc + ", age: [x]}\n")
	f.Add(secretsWith("a:\n  # plain\n  - x\n", "    unencrypted_comment_regex: plain\n"))
	f.Fuzz(func(t *testing.T, text string) {
		if checkSecrets([]byte(text)) == nil && !strings.Contains(text, "ENC[AES256_GCM,") {
			t.Fatalf("accepted %q, where nothing is encrypted", text)
		}
		if err := checkSecrets([]byte("secret: s3cr3t-value\n" + text)); err != nil && strings.Contains(err.Error(), "s3cr3t-value") {
			t.Fatalf("quoted a value: %v", err)
		}
	})
}
