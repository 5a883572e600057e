package secrets

import (
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatIsSealedOpensUnchanged(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	sealed := readAll(t, project.SecretsFile())

	for _, secret := range []string{"0f1e2d3c", "hunter 2", "changed in May"} {
		assert.NotContains(t, string(sealed), secret)
	}
	plain, err := mustOpen(t, sealed, ids).plain()
	require.NoError(t, err)
	assert.Equal(t, exampleYAML, string(plain), "comments, order and types")
}

func TestUnchangedValuesKeepTheirCiphertext(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	before := readAll(t, project.SecretsFile())
	f := mustOpen(t, before, ids)
	f.tree.Branches[0], _ = f.tree.Branches[0].Set([]any{"database", "password"}, "new")
	after, err := f.seal()
	require.NoError(t, err)

	changed := changedLines(string(before), string(after))
	for _, line := range changed {
		assert.Regexp(t, `^ +(password|lastmodified|mac): `, line)
	}
	require.NotEmpty(t, changed)
	assert.Contains(t, changed[0], between(string(before), " #ENC[", "]"), "the comment beside it is the old one")
}

func changedLines(before, after string) []string {
	old := map[string]bool{}
	for line := range strings.Lines(before) {
		old[line] = true
	}
	var out []string
	for line := range strings.Lines(after) {
		if !old[line] {
			out = append(out, line)
		}
	}
	return out
}

func TestMACIsCompared(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "one: first\ntwo: second\nthree_unencrypted: third\n")
	sealed := string(readAll(t, project.SecretsFile()))

	t.Run("a value is missing", func(t *testing.T) {
		_, err := VerifyBytes([]byte(dropLine(sealed, "two: ")), ids)
		assert.ErrorIs(t, err, ErrDamaged)
	})
	t.Run("a value in plain text is changed", func(t *testing.T) {
		_, err := VerifyBytes([]byte(strings.Replace(sealed, "third", "other", 1)), ids)
		assert.ErrorIs(t, err, ErrDamaged)
	})
	t.Run("a value is emptied", func(t *testing.T) {
		_, err := VerifyBytes([]byte(dropLine(sealed, "two: ")+"two: \"\"\n"), ids)
		assert.ErrorIs(t, err, ErrDamaged)
	})
	t.Run("the order is changed", func(t *testing.T) {
		lines := strings.SplitAfter(sealed, "\n")
		lines[0], lines[1] = lines[1], lines[0]
		_, err := VerifyBytes([]byte(strings.Join(lines, "")), ids)
		assert.ErrorIs(t, err, ErrDamaged)
	})
	t.Run("untouched", func(t *testing.T) {
		_, err := VerifyBytes([]byte(sealed), ids)
		assert.NoError(t, err)
	})
}

func dropLine(text, prefix string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestEveryFlippedByte flips every byte of a value, the MAC, and what is said of
// a recipient, in turn.
func TestEveryFlippedByte(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, "token: abcdefghijklmnop\nnumber: 42\nflag: true\n")
	sealed := string(readAll(t, project.SecretsFile()))
	parts := map[string]string{
		"text":      textAfter(sealed, "token: "),
		"number":    textAfter(sealed, "number: "),
		"boolean":   textAfter(sealed, "flag: "),
		"MAC":       textAfter(sealed, "mac: "),
		"recipient": textAfter(sealed, "recipient: "),
		"stanza":    between(sealed, "-----BEGIN AGE ENCRYPTED FILE-----\n", "-----END"),
		"modified":  textAfter(sealed, "lastmodified: "),
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := strings.Index(sealed, part)
			for i := range part {
				for _, bit := range []byte{1, 4} {
					data := []byte(sealed)
					data[start+i] ^= bit
					if sameMeaning(part[i], data[start+i]) {
						continue
					}
					_, err := VerifyBytes(data, ids)
					assert.Error(t, err, "byte %d: %q became %q", i, part[i], data[start+i])
				}
			}
		})
	}
}

// sameMeaning are changes of white space, which YAML and PEM armour ignore.
func sameMeaning(a, b byte) bool {
	return strings.ContainsRune(" \n\t", rune(a)) || strings.ContainsRune(" \n\t", rune(b))
}

func textAfter(text, prefix string) string {
	_, after, _ := strings.Cut(text, prefix)
	line, _, _ := strings.Cut(after, "\n")
	return strings.Trim(line, `"`)
}

func between(text, from, to string) string {
	_, after, _ := strings.Cut(text, from)
	part, _, _ := strings.Cut(after, to)
	return part
}

// TestForgedLabelsAndNames covers what the MAC does not.
func TestForgedLabelsAndNames(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	stranger := newIdentities(t, 1).Recipients()[0]
	project := newProject(t, ids, "# a comment\ntoken: abc\n")
	sealed := string(readAll(t, project.SecretsFile()))
	cases := map[string]string{
		"bytes, which panics in sops": strings.Replace(sealed, "type:str]", "type:bytes]", 1),
		"an unknown type":             strings.Replace(sealed, "type:str]", "type:text]", 1),
		"a comment":                   strings.Replace(sealed, "type:str]", "type:comment]", 1),
		"text after the bracket":      strings.Replace(sealed, "type:str]", "type:str]]", 1),
		"a stranger's name":           strings.Replace(sealed, ids.Recipients()[0], stranger, 1),
		"a comment's ciphertext":      strings.Replace(sealed, "#ENC[AES256_GCM,data:", "#ENC[AES256_GCM,data:AAAA", 1),
		"another suffix":              strings.Replace(sealed, "unencrypted_suffix: _unencrypted", "unencrypted_suffix: token", 1),
		"only the encrypted":          strings.Replace(sealed, "    unencrypted_suffix:", "    mac_only_encrypted: true\n    unencrypted_suffix:", 1),
	}
	for name, forged := range cases {
		require.NotEqual(t, sealed, forged, name)
		_, err := VerifyBytes([]byte(forged), ids)
		assert.Error(t, err, name)
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 1)
	project := newProject(t, ids, exampleYAML)
	sealed := string(readAll(t, project.SecretsFile()))
	cases := map[string]struct {
		data string
		want error
	}{
		"empty":              {"", ErrDamaged},
		"white space":        {"\n \n", ErrDamaged},
		"plaintext":          {"token: hunter2\n", ErrNotEncrypted},
		"a single text":      {"hunter2secret\n", ErrDamaged},
		"a list":             {"- hunter2\n", ErrDamaged},
		"truncated":          {sealed[:len(sealed)/2], ErrDamaged},
		"truncated early":    {sealed[:100], ErrDamaged},
		"conflict":           {"<<<<<<< HEAD\n" + sealed + "=======\n>>>>>>> other\n", ErrDamaged},
		"binary":             {"\x00\x01\x02\xff", ErrDamaged},
		"no keys":            {"a: b\nsops:\n    mac: x\n    lastmodified: \"2024-01-01T00:00:00Z\"\n", ErrDamaged},
		"endless alias":      {"a: 1\n---\nb: &b [*b]\n", ErrDamaged},
		"plain beside":       {strings.Replace(sealed, "gateway-token:", "new: hunter2\ngateway-token:", 1), ErrDamaged},
		"a number as a key":  {strings.Replace(sealed, "gateway-token:", "1:", 1), ErrDamaged},
		"metadata is a text": {"a: b\nsops: hunter2\n", ErrDamaged},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := VerifyBytes([]byte(c.data), ids)
			require.ErrorIs(t, err, c.want)
			assert.NotContains(t, err.Error(), "hunter2", "no error repeats a value")
			assert.NotEmpty(t, next.Of(err).String())
		})
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	project := newProject(t, newIdentities(t, 1), exampleYAML)
	_, err := VerifyBytes(readAll(t, project.SecretsFile()), newIdentities(t, 2))
	require.ErrorIs(t, err, ErrWrongKey)
	assert.NotErrorIs(t, err, ErrDamaged)
}

func TestWhoCanDecrypt(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 3)
	readers := ids.Only(ids.Recipients()[:2])
	project := newProject(t, readers, exampleYAML)
	report, err := VerifyBytes(readAll(t, project.SecretsFile()), ids)
	require.NoError(t, err)
	assert.ElementsMatch(t, readers.Recipients(), report.Recipients)
	assert.True(t, report.CanDecrypt(ids.Hashes()[1:2]))
	assert.True(t, report.CanDecrypt([]string{"", strings.ToUpper(ids.Hashes()[0]) + "\n"}))
	assert.False(t, report.CanDecrypt(ids.Hashes()[2:]))
	assert.False(t, report.CanDecrypt(nil))
	assert.Equal(t, []string{"empty", "nothing"}, report.Plain)
}

func TestSeveralKeyGroups(t *testing.T) {
	t.Parallel()
	ids := newIdentities(t, 3)
	project := emptyProject(t, ids, "")
	rule := "creation_rules:\n  - key_groups:\n"
	for _, recipient := range ids.Recipients() {
		rule += "      - age: [" + recipient + "]\n"
	}
	writeText(t, project.RulesFile(), rule+"    shamir_threshold: 2\n")
	sealed := encryptYAML(t, project, exampleYAML)

	_, err := VerifyBytes(sealed, ids.Only(ids.Recipients()[:1]))
	require.ErrorIs(t, err, ErrWrongKey)
	report, err := VerifyBytes(sealed, ids.Only(ids.Recipients()[1:]))
	require.NoError(t, err)
	assert.Empty(t, report.Hashes, "none decrypts alone")
}

func TestFormatVersionIsTheOneInUse(t *testing.T) {
	t.Parallel()
	assert.Contains(t, string(readAll(t, "../../go.mod")), "github.com/getsops/sops/v3 v"+formatVersion)
	assert.True(t, olderVersion("3.9.1", "3.13.3"))
	assert.True(t, olderVersion("", "3.13.3"))
	assert.False(t, olderVersion("3.13.3", "3.13.3"))
	assert.False(t, olderVersion("4.0.0", "3.13.3"))
}

// TestStrictCipherRefusesWhatWouldPanic keeps away a panic of sops: a vector of
// another length decrypts, and encrypting with it again does not return.
func TestStrictCipherRefusesWhatWouldPanic(t *testing.T) {
	t.Parallel()
	cipher := newCipher()
	key := make([]byte, 32)
	_, err := cipher.Decrypt("ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]", key, "a:")
	assert.ErrorContains(t, err, "of 3 bytes, not 32")
	_, err = cipher.Decrypt("hunter2", key, "a:b:")
	assert.EqualError(t, err, `"a.b": is in plain text and should be encrypted`)
	_, err = cipher.Encrypt(sops.Comment{Value: "x", Inline: true}, key, "")
	assert.NoError(t, err)
}
