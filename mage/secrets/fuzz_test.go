package secrets

import (
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/require"
)

// FuzzSecretsFile: any bytes give an error or a file that can be sealed again.
func FuzzSecretsFile(f *testing.F) {
	ids := newIdentities(f, 1)
	project := newProject(f, ids, exampleYAML)
	sealed := readAll(f, project.SecretsFile())
	f.Add(sealed)
	for _, seed := range []string{
		"", "a: b\n", "- a\n", "sops: {}\n", "sops:\n  age: []\n  lastmodified: \"2024-01-01T00:00:00Z\"\n  mac: x\n",
		"a: &a [*a]\nsops: {}\n", "a: 1\n---\nb: &b [*b]\n", "? [a]\n: b\nsops: {}\n", "#\n#\na: #\nsops: {}\n", "<<<<<<< HEAD\n", "!!binary x: y\n",
		"sops:\n  kms:\n  - arn: x\n    created_at: \"2024-01-01T00:00:00Z\"\n    context: {a: null}\n  lastmodified: \"2024-01-01T00:00:00Z\"\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"x.json", "x.env", "x.ini", "x"} {
			_, _ = VerifyFile(name, data, ids)
		}
		report, err := VerifyBytes(data, ids)
		if err != nil {
			require.NotEmpty(t, next.Of(err).String())
			return
		}
		require.NotNil(t, report)
		opened, err := open(data, ids, yamlStore())
		require.NoError(t, err)
		_, err = opened.sealChecked(ids)
		require.NoError(t, err)
	})
}

// FuzzEdit: whatever a person saves is refused, or comes back as it was meant.
func FuzzEdit(f *testing.F) {
	ids := newIdentities(f, 1)
	project := newProject(f, ids, exampleYAML)
	sealed := readAll(f, project.SecretsFile())
	for _, seed := range []string{exampleYAML, everything, "a: 1\n---\nb: 2\n", "a: &x {b: c}\nd: *x\ne: {<<: *x}\n", "a: !!str 5\n", "a: 0x10\nb: 1e3\nc: .inf\n", "# only a comment\n", "a:\n- # c\n- {}\n- []\n", "\"\": x\n", "a: \"\\0\"\n"} {
		f.Add([]byte(seed))
	}
	store := yamlStore()
	f.Fuzz(func(t *testing.T, data []byte) {
		branches, _, err := readPlain(data, store)
		if err != nil {
			return
		}
		opened, err := open(sealed, ids, yamlStore())
		require.NoError(t, err)
		opened.tree.Branches = branches
		out, err := opened.sealChecked(ids)
		if err != nil {
			return
		}
		again, err := open(out, ids, yamlStore())
		require.NoError(t, err)
		was, err := opened.plain()
		require.NoError(t, err)
		is, err := again.plain()
		require.NoError(t, err)
		require.Equal(t, string(was), string(is))
	})
}
